"""Which classes compete for an image's pixels (the class policy, step 0 of the method).

A policy is any callable `policy(request) -> Choice`, built once and asked for each photo. It is written with every
result, because it decides what a number means. Where the caller says which names may win (`keep=`), no policy is asked:
`oracle`, the ground truth's classes, and `file`, a list for each photo, are such callers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from pnp_ovss.classes import name_key
from pnp_ovss.config import SegmenterConfig
from pnp_ovss.errors import ConfigError

if TYPE_CHECKING:
    from pnp_ovss.clip import Clip

Classes = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Request:
    """What a policy may look at.

    classes: K classes, each a name and its synonyms. image: (H, W, 3) uint8. image_name: the file name, or "".
    match: the VLM's match probability of each name alone in the prompt, in [0, 1]; computed when called.
    """

    classes: Classes
    image: np.ndarray
    image_name: str
    match: Callable[[Sequence[str]], list[float]]


@dataclass(frozen=True)
class Choice:
    """The indices of the classes that compete, and each class's score in [0, 1] where the policy has one.

    matches: where the caller listed the classes, the model's match of each of these in [0, 1] (None: of the others), which
    weighs them and rules none out; else ().
    """

    kept: tuple[int, ...]
    scores: tuple[float | None, ...]
    matches: tuple[float | None, ...] = ()


@runtime_checkable
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
    """Every class of the vocabulary competes (what the paper's text says).

    scored: whether the model is asked how sure it is of each, for what weighs classes by it.
    """

    scored: bool = False
    name: str = "all"

    def __call__(self, request: Request) -> Choice:
        """Keep all."""
        count = len(request.classes)
        scores = _class_scores(request, request.match) if self.scored else None
        return Choice(tuple(range(count)), scores or (None,) * count)


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

    def __str__(self) -> str:
        """The conditions that it has.

        >>> print(KeepRule(0.2, relative=0.5), "|", KeepRule(0.0, top_k=2))
        at least 0.2, 0.5 of the best | at most 2
        """
        parts = [f"at least {self.threshold:g}"] * bool(self.threshold) + [f"{self.relative:g} of the best"] * bool(
            self.relative
        )
        return ", ".join([*parts, f"at most {self.top_k}"] if self.top_k else parts) or "any"


@dataclass(frozen=True)
class MatchPolicy:
    """The VLM's own image-text matching decides, by its match probability of "A picture of {class}".

    A class with synonyms has its best name's probability.
    """

    rule: KeepRule = KeepRule()
    name: str = "itm"

    def __call__(self, request: Request) -> Choice:
        """Keep the matching classes."""
        scores = _class_scores(request, request.match)
        return Choice(self.rule(scores), scores)


@dataclass(frozen=True)
class ClipPolicy:
    """A CLIP decides: the softmax of cosine / 0.01 over all classes of the vocabulary, bare names.

    A class with synonyms has its best name's similarity.
    """

    scorer: Clip
    rule: KeepRule = KeepRule(threshold=0.0, relative=0.5)
    name: str = "clip"

    def __call__(self, request: Request) -> Choice:
        """Keep the classes with a large share of the probability."""
        ask = lambda names: self.scorer.score([request.image], names)[0].tolist()  # noqa: E731
        logits = np.array(_class_scores(request, ask))
        shares = np.exp(logits - logits.max())
        scores = tuple((shares / shares.sum()).tolist())
        return Choice(self.rule(scores), scores)


def _class_scores(request: Request, ask: Callable[[Sequence[str]], Sequence[float]]) -> tuple[float, ...]:
    """Each class's best score of its names'. ask: the scores of many names, in their order."""
    remaining = iter(ask([name for group in request.classes for name in group]))
    return tuple(max(next(remaining) for _ in group) for group in request.classes)


@dataclass(frozen=True)
class CallersList:
    """Stands where the configuration says that the caller lists the names (`file`, `oracle`) and the caller did not."""

    name: str

    def __call__(self, request: Request) -> Choice:  # noqa: ARG002
        """Raise ConfigError, with what is missing."""
        raise ConfigError(
            f"policy '{self.name}' needs the names that may win: pass keep=[...] (a candidates file on the command line, "
            "ground truth in an evaluation); or choose policy itm or all"
        )


def choose(
    policy: ClassPolicy, request: Request, keep: Sequence[str] | None, config: SegmenterConfig
) -> tuple[str, Choice]:
    """Who decided, and what competes. keep: the names that the caller lists; then the policy is not asked."""
    if keep is None:
        name, choice = policy.name, policy(request)
    else:
        name = config.policy if config.policy in ("file", "oracle") else "keep"
        kept, nothing = kept_indices(request.classes, keep), (None,) * len(request.classes)
        weighed = config.soft_presence and config.competition == "equal_mass" and len(kept) > 1
        choice = Choice(kept, nothing, _matches(request, kept) if weighed else ())
    if choice.kept or config.empty == "background":
        return name, choice
    return name, best_class(request, choice)


def _matches(request: Request, kept: Sequence[int]) -> tuple[float | None, ...]:
    """The match of the kept classes, None of the others."""
    asked = replace(request, classes=[request.classes[index] for index in kept])
    found = dict(zip(kept, _class_scores(asked, request.match), strict=True))
    return tuple(found.get(index) for index in range(len(request.classes)))


def best_class(request: Request, choice: Choice) -> Choice:
    """The class with the highest score alone: of the policy's scores, or the model's match where it has none."""
    known = [score for score in choice.scores if score is not None]
    if len(known) < len(choice.scores):
        known = list(_class_scores(request, request.match))
    return Choice((int(np.argmax(known)),), tuple(known))


def keep_rule(config: SegmenterConfig) -> KeepRule:
    """The rule of the settings match_threshold, match_relative and match_top_k."""
    return KeepRule(config.match_threshold, config.match_relative, config.match_top_k)


def with_rule(policy: ClassPolicy, config: SegmenterConfig) -> ClassPolicy:
    """The policy with the configuration's keep rule or scores, if it is one of those here that have them."""
    if isinstance(policy, MatchPolicy | ClipPolicy):
        return replace(policy, rule=keep_rule(config))
    return replace(policy, scored=config.soft_presence) if isinstance(policy, AllClasses) else policy


def get_policy(config: SegmenterConfig, device: str = "auto") -> ClassPolicy:
    """The policy of the configuration; `device`: where a CLIP runs. Raises ModelError when CLIP's weights are missing."""
    if config.policy == "all":
        return AllClasses(scored=config.soft_presence)
    if config.policy == "itm":
        return MatchPolicy(keep_rule(config))
    if config.policy == "clip":
        from pnp_ovss.clip import CLIP_MODEL, Clip

        scorer = Clip.from_pretrained(config.clip_model or CLIP_MODEL, device=device)
        return ClipPolicy(scorer, keep_rule(config))
    return CallersList(config.policy)


def kept_indices(classes: Classes, keep: Sequence[str]) -> tuple[int, ...]:
    """Indices of the classes that have one of these names, in the classes' order; other names are ignored.

    >>> kept_indices([("cat",), ("sofa", "couch")], ["Couch", "zebra"])
    (1,)

    Raises ConfigError for what is no list of names: the letters of a text would be taken for names.
    """
    names = list(keep) if isinstance(keep, Iterable) and not isinstance(keep, str) else [None]
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(f"keep = {keep!r:.80} is no list of names; write ['cat', 'sofa']")
    wanted = set(map(name_key, names))
    return tuple(i for i, group in enumerate(classes) if wanted.intersection(map(name_key, group)))
