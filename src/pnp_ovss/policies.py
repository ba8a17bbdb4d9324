"""Which classes compete for an image's pixels (the class policy, step 0 of the method).

A policy is any callable `policy(request) -> Choice`. It is printed with every result, because it decides what a
number means: `oracle` (the ground truth's classes) is the protocol of the paper's Table 3, `itm` is open.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

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
class KeepRule:
    """Which classes a list of scores in [0, 1] keeps: those that meet all three conditions.

    threshold: the lowest score. relative: the lowest share of the image's best score. top_k: at most so many, the best
    first and ties by order; 0 = any number.

    >>> KeepRule(0.2, relative=0.5)([0.9, 0.4, 0.5, 0.1])
    (0, 2)
    """

    threshold: float = 0.5
    relative: float = 0.0
    top_k: int = 0

    def __call__(self, scores: Sequence[float]) -> tuple[int, ...]:
        """Indices of the kept classes, in order."""
        lowest = max(self.threshold, self.relative * max(scores, default=0.0))
        ranked = sorted((i for i, score in enumerate(scores) if score >= lowest), key=lambda i: -scores[i])
        return tuple(sorted(ranked[: self.top_k] if self.top_k else ranked))


@dataclass(frozen=True)
class MatchPolicy:
    """The VLM's own image-text matching decides, by its match probability of "A picture of {class}".

    A class with synonyms has its best name's probability.
    """

    rule: KeepRule = KeepRule()
    name: str = "itm"

    def __call__(self, request: Request) -> Choice:
        """Keep the matching classes."""
        scores = _best_of_synonyms(request.classes, request.match(_all_names(request.classes)))
        return Choice(self.rule(scores), scores)


class Similarity(Protocol):
    """What `ClipPolicy` needs of a scorer (`pnp_ovss.scorers.ClipScorer`)."""

    def score(self, images: Sequence[np.ndarray], class_names: Sequence[str]) -> Any:
        """Similarities (images, names): a tensor of cosine / 0.01."""
        ...


@dataclass(frozen=True)
class ClipPolicy:
    """A CLIP decides: the softmax of cosine / 0.01 over all classes of the vocabulary, bare names.

    A class with synonyms has its best name's similarity.
    """

    scorer: Similarity
    rule: KeepRule = KeepRule(threshold=0.0, relative=0.5)
    name: str = "clip"

    def __call__(self, request: Request) -> Choice:
        """Keep the classes with a large share of the probability."""
        found = self.scorer.score([request.image], _all_names(request.classes))[0].tolist()
        logits = np.array(_best_of_synonyms(request.classes, found))
        shares = np.exp(logits - logits.max())
        scores = tuple((shares / shares.sum()).tolist())
        return Choice(self.rule(scores), scores)


def _all_names(classes: Classes) -> list[str]:
    return [name for group in classes for name in group]


def _best_of_synonyms(classes: Classes, scores: Sequence[float]) -> tuple[float, ...]:
    """Each class's best score, from the scores of all names in order."""
    remaining = iter(scores)
    return tuple(max(next(remaining) for _ in group) for group in classes)


@dataclass(frozen=True)
class ListedClasses:
    """The classes that a list names for each image: from a tagger, an LLM, a person (`file`), or the ground truth.

    candidates: {image id: class names}; the image's id or the key may be a file name with or without its ending.
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
        alike = [key for key in self.candidates if Path(key).stem == image_id]
        if len(alike) == 1:
            return {name.casefold() for name in self.candidates[alike[0]]}
        raise ConfigError(
            f"policy '{self.name}': the candidates name no image '{image_id}'; "
            f"they name {len(self.candidates)} others: add it, or use policy itm"
        )


def read_candidates(path: str | Path) -> dict[str, list[str]]:
    """A JSON file {image id: [class names]} for policy `file`. Raises ConfigError when it is anything else."""
    try:
        data = json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    lists = isinstance(data, dict) and all(isinstance(v, list) for v in data.values())
    if not lists or any(not isinstance(name, str) for names in data.values() for name in names):
        raise ConfigError(f'{path} must look like {{"photo.jpg": ["cat", "sofa"], ...}}')
    return data


def make_policy(
    name: str,
    *,
    threshold: float = 0.5,
    candidates: Mapping[str, Sequence[str]] | None = None,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
) -> ClassPolicy:
    """The policy of this name. `file` and `oracle` need candidates (for `oracle` the evaluation gives them).

    options: for `itm` `relative` and `top_k` of a KeepRule, whose threshold is `threshold`; for `clip` all three and
    `model`, a hub id or folder. device: where CLIP runs. Raises ConfigError, or ModelError when CLIP's weights are missing.
    """
    given = dict(options or {})
    _check_options(name, given)
    if name == "all":
        return AllClasses()
    if name == "itm":
        return MatchPolicy(KeepRule(threshold, **given))
    if name == "clip":
        scorer = _clip_scorer(str(given.pop("model", "")), device)
        settings: dict[str, Any] = {"threshold": 0.0, "relative": 0.5, **given}
        return ClipPolicy(scorer, KeepRule(**settings))
    if name in ("file", "oracle"):
        if candidates is None:
            source = "--candidates FILE.json" if name == "file" else "a data set with ground truth (pnp-ovss evaluate)"
            raise ConfigError(f"policy '{name}' needs {source}; or choose policy itm or all")
        return ListedClasses(candidates, name)
    raise ConfigError(f"unknown policy '{name}'; choose from all, itm, file, oracle, clip")


_OPTIONS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "itm": {"relative": (int, float), "top_k": int},
    "clip": {"threshold": (int, float), "relative": (int, float), "top_k": int, "model": str},
}


def _check_options(name: str, given: Mapping[str, Any]) -> None:
    known = _OPTIONS.get(name, {})
    for key, value in given.items():
        if key not in known:
            raise ConfigError(f"policy '{name}' has no option '{key}'; its options are {', '.join(known) or 'none'}")
        if not isinstance(value, known[key]) or isinstance(value, bool) or (not isinstance(value, str) and value < 0):
            raise ConfigError(f"policy '{name}': {key} = {value!r} is not possible")


@lru_cache(maxsize=1)
def _clip_scorer(model: str, device: str) -> Similarity:
    """CLIP, loaded once however many images there are."""
    from pnp_ovss.scorers import CLIP_MODEL, ClipScorer

    return ClipScorer.from_pretrained(model or CLIP_MODEL, device=device)
