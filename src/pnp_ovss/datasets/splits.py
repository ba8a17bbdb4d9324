"""Parts of vocabularies in the paper: unseen classes (supplement 9), ViL-Seg's (supplement 11)."""

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from pnp_ovss.datasets.vocabulary import get_vocabulary
from pnp_ovss.errors import DatasetError


@dataclass(frozen=True)
class ClassSplit:
    """Some classes of a vocabulary."""

    name: str
    vocabulary: str
    source: str
    names: tuple[str, ...]
    """The vocabulary's names, in the paper's order."""
    paper_names: tuple[str, ...]
    """The paper's spellings of the same classes."""
    labels: tuple[int, ...]
    """Their labels in the vocabulary, from 1."""


def list_splits() -> tuple[tuple[str, str], ...]:
    """Pairs (split, vocabulary) that `get_split` takes.

    >>> list_splits()[:3]
    (('unseen', 'voc20'), ('unseen', 'context59'), ('unseen', 'coco_stuff171'))
    """
    return tuple(
        (name, vocabulary) for name, parts in _read().items() for vocabulary in parts if vocabulary != "source"
    )


def get_split(name: str, vocabulary: str) -> ClassSplit:
    """A part of a vocabulary. Raises DatasetError if there is no such part.

    >>> get_split("unseen", "voc20").labels
    (16, 17, 18, 19, 20)
    """
    if (name, vocabulary) not in list_splits():
        known = ", ".join(f"{split} of {of}" for split, of in list_splits())
        raise DatasetError(f"no split {name!r} of the vocabulary {vocabulary!r}; there are {known}")
    spellings: dict[str, str] = _read()[name][vocabulary]
    classes = get_vocabulary(vocabulary)
    return ClassSplit(
        name=name,
        vocabulary=vocabulary,
        source=_read()[name]["source"],
        names=tuple(spellings.values()),
        paper_names=tuple(spellings),
        labels=tuple(classes.label(spelling) for spelling in spellings.values()),
    )


@lru_cache(maxsize=1)
def _read() -> dict[str, Any]:
    return tomllib.loads((files("pnp_ovss.datasets") / "splits.toml").read_text(encoding="utf-8"))
