"""Which classes compete for an image's pixels (the class policy, step 0 of the method).

A policy is any callable `policy(request) -> Choice`. It is printed with every result, because it decides what a
number means: `oracle` (the ground truth's classes) is the protocol of the paper's Table 3, `itm` is open.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from pnp_ovss.errors import ConfigError

Classes = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Request:
    """What a policy may look at.

    classes: K classes, each a name and its synonyms. image: (H, W, 3) uint8. image_id: the file name, or "".
    match: the VLM's match probability of each name, "A picture of {name}", in [0, 1]; computed when called.
    """

    classes: Classes
    image: np.ndarray
    image_id: str
    match: Callable[[Sequence[str]], list[float]]


@dataclass(frozen=True)
class Choice:
    """The indices of the classes that compete, and each class's score in [0, 1] where the policy has one."""

    kept: tuple[int, ...]
    scores: tuple[float | None, ...]


class ClassPolicy(Protocol):
    """Decides for one image; `name` is written with the result."""

    @property
    def name(self) -> str:
        """The policy's name."""
        ...

    def __call__(self, request: Request) -> Choice:
        """The competing classes of this image."""
        ...


@dataclass(frozen=True)
class AllClasses:
    """Every class of the vocabulary competes (what the paper's text says)."""

    name: str = "all"

    def __call__(self, request: Request) -> Choice:
        """Keep all."""
        count = len(request.classes)
        return Choice(tuple(range(count)), (None,) * count)


@dataclass(frozen=True)
class MatchPolicy:
    """The VLM's own image-text matching decides: classes whose match probability reaches the threshold.

    A class with synonyms has its best name's probability.
    """

    threshold: float = 0.5
    name: str = "itm"

    def __call__(self, request: Request) -> Choice:
        """Keep the matching classes."""
        names = [name for group in request.classes for name in group]
        probabilities = iter(request.match(names))
        scores = tuple(max(next(probabilities) for _ in group) for group in request.classes)
        return Choice(tuple(i for i, s in enumerate(scores) if s >= self.threshold), scores)


@dataclass(frozen=True)
class ListedClasses:
    """The classes that a list names for each image: from a tagger, an LLM, a person (`file`), or the ground truth.

    candidates: {image id: class names}; an id may be a file name with or without its ending.
    """

    candidates: Mapping[str, Sequence[str]]
    name: str = "file"

    def __call__(self, request: Request) -> Choice:
        """Keep the listed classes; names outside the vocabulary are ignored."""
        listed = self._listed(request.image_id)
        kept = tuple(i for i, group in enumerate(request.classes) if {n.casefold() for n in group} & listed)
        return Choice(kept, (None,) * len(request.classes))

    def _listed(self, image_id: str) -> set[str]:
        for key in (image_id, Path(image_id).name, Path(image_id).stem):
            if key in self.candidates:
                return {name.casefold() for name in self.candidates[key]}
        raise ConfigError(
            f"policy '{self.name}': the candidates name no image '{image_id}'; "
            f"they name {len(self.candidates)} others: add it, or use policy itm"
        )


def read_candidates(path: str | Path) -> dict[str, list[str]]:
    """A JSON file {image id: [class names]} for policy `file`. Raises ConfigError when it is anything else."""
    try:
        data = json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the candidates file {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"the candidates file {path} is not JSON: {error}") from error
    lists = isinstance(data, dict) and all(isinstance(v, list) for v in data.values())
    if not lists or any(not isinstance(name, str) for names in data.values() for name in names):
        raise ConfigError(f'the candidates file {path} must look like {{"photo.jpg": ["cat", "sofa"], ...}}')
    return data


def make_policy(
    name: str, *, threshold: float = 0.5, candidates: Mapping[str, Sequence[str]] | None = None
) -> ClassPolicy:
    """The policy of this name. `file` and `oracle` need candidates (for `oracle` the evaluation gives them)."""
    if name == "all":
        return AllClasses()
    if name == "itm":
        return MatchPolicy(threshold)
    if name in ("file", "oracle"):
        if candidates is None:
            source = "--candidates FILE.json" if name == "file" else "a data set with ground truth (pnp-ovss evaluate)"
            raise ConfigError(f"policy '{name}' needs {source}; or choose policy itm or all")
        return ListedClasses(candidates, name)
    raise ConfigError(f"unknown policy '{name}'; choose from all, itm, file, oracle, clip")
