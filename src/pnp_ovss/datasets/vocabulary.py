"""Vocabularies: the classes of a data set, in order, each with the names it is known by."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path

from pnp_ovss.classes import class_rows, make_classes, name_key
from pnp_ovss.errors import ClassNameError, DatasetError
from pnp_ovss.files import read_lines

VOID = 65_535
"""Label of pixels without ground truth."""

_FOLDER = files("pnp_ovss.datasets") / "vocabularies"


@dataclass(frozen=True)
class Vocabulary:
    """The classes that a data set is labelled with; the i-th of them is label i, counted from 1.

    >>> voc = get_vocabulary("voc20")
    >>> len(voc), voc.names[0], voc.label("TV-Monitor"), voc.label("motorcycle")
    (20, 'aeroplane', 20, 14)
    """

    name: str
    classes: tuple[tuple[str, ...], ...]
    """One tuple a class: the name that is prompted, then the other names that `label` accepts."""

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that are prompted and printed, one a class."""
        return tuple(synonyms[0] for synonyms in self.classes)

    def label(self, name: str) -> int:
        """Label (from 1) of the class called `name`, whatever its case, blanks, hyphens and underscores.

        Raises ClassNameError if the vocabulary knows no such class.
        """
        key = name_key(name)
        label = self._labels.get(key) or self._joined.get(key.replace(" ", ""))
        if label is None:
            raise ClassNameError(
                f"{name!r} is no class of the vocabulary {self.name!r}; its classes: {', '.join(self.names)}"
            )
        return label

    @cached_property
    def _labels(self) -> dict[str, int]:
        return {name_key(name): label for label, group in enumerate(self.classes, start=1) for name in group}

    @cached_property
    def _joined(self) -> dict[str, int]:
        """Labels by names without blanks ("tvmonitor"), where such a name means one class only."""
        found: dict[str, set[int]] = {}
        for key, label in self._labels.items():
            found.setdefault(key.replace(" ", ""), set()).add(label)
        return {key: labels.pop() for key, labels in found.items() if len(labels) == 1}


def list_vocabularies() -> tuple[str, ...]:
    """Names of the vocabularies that come with the library.

    >>> list_vocabularies()
    ('ade150', 'coco_object80', 'coco_stuff171', 'context59', 'voc20')
    """
    return tuple(sorted(entry.name.removesuffix(".txt") for entry in _FOLDER.iterdir()))


@lru_cache
def get_vocabulary(name: str) -> Vocabulary:
    """One of the vocabularies of `list_vocabularies`. Raises DatasetError for any other name."""
    if name not in list_vocabularies():
        raise DatasetError(f"no vocabulary {name!r}; there are {', '.join(list_vocabularies())}")
    text = (_FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    return make_vocabulary(name, text.splitlines(), source=f"{name}.txt")


def read_vocabulary(path: Path) -> Vocabulary:
    """The vocabulary of a text file: one class a line, synonyms after commas, `#` lines are comments.

    Raises DatasetError if the file is missing, empty, not UTF-8 or gives one name to two classes.
    """
    return make_vocabulary(path.stem, read_lines(path, "the class file", error=DatasetError), source=str(path))


def make_vocabulary(name: str, lines: Iterable[str], *, source: str = "") -> Vocabulary:
    """A vocabulary from lines like those of a class file; `source` is named in the errors."""
    rows, where = class_rows(lines), source or name
    if not 0 < len(rows) < VOID:
        raise DatasetError(f"{where}: {len(rows) or 'no'} classes; expected one to {VOID - 1}, one a line")
    try:
        classes = make_classes(rows)
    except ClassNameError as error:
        raise DatasetError(f"{where}: {error}; expected one class name a line, synonyms after commas") from None
    return Vocabulary(name, classes)
