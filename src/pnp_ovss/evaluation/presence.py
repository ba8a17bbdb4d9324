"""How well a class policy decides which classes are in an image: precision, recall, micro-F1, average precision."""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.evaluation.metrics import Confusion

LENGTHS = (3, 20, 80, 171)
"""Lengths of the lists of names that presence is reported for, where the vocabulary is longer."""


@dataclass(frozen=True)
class Presence:
    """Counts over image x class, background left out; `a + b` pools two sets of images.

    >>> presence({1, 2}, {2, 3}) + presence({5}, {5})
    Presence(kept_present=2, kept_absent=1, missed=1)
    """

    kept_present: int = 0
    kept_absent: int = 0
    missed: int = 0

    def __add__(self, other: "Presence") -> "Presence":
        return Presence(
            self.kept_present + other.kept_present,
            self.kept_absent + other.kept_absent,
            self.missed + other.missed,
        )

    @property
    def precision(self) -> float:
        """Share of the kept classes that are present; NaN if none was kept."""
        return _share(self.kept_present, self.kept_present + self.kept_absent)

    @property
    def recall(self) -> float:
        """Share of the present classes that were kept; NaN if none is present."""
        return _share(self.kept_present, self.kept_present + self.missed)

    @property
    def micro_f1(self) -> float:
        """Harmonic mean of the two over all pairs of image and class."""
        return _share(2 * self.kept_present, 2 * self.kept_present + self.kept_absent + self.missed)


def average_precision(scores: NDArray[np.floating], truth: NDArray[np.bool_]) -> float:
    """Mean over the true ones of the precision down to them, the best first; NaN without a true one.

    >>> average_precision(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]))
    0.8333333333333333
    """
    ranked = truth[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float(precision[ranked].mean()) if ranked.any() else float("nan")


@dataclass(frozen=True)
class Decided:
    """What is known of one image. present, kept: labels from 1. scores: (K,) how sure the policy was of each, or None."""

    id: str
    present: tuple[int, ...]
    kept: tuple[int, ...]
    scores: tuple[float, ...] | None = None


@dataclass(frozen=True)
class ListPresence:
    """Presence where each image is asked for `names` names. kept, present: names an image. ap: None without scores."""

    names: int
    precision: float
    recall: float
    micro_f1: float
    ap: float | None
    kept: float
    present: float


def presence_by_list(images: Sequence[Decided], count: int) -> Iterator[ListPresence]:
    """For each of LENGTHS below `count`, the length of the vocabulary, and for that: what shorter lists would have given.

    A shorter list holds the image's own classes and, to its length, others at random, the same for an image in every
    run; where an image has more classes than the list, those of them that come first. A name's decision is taken to be the
    same in every list, as it is under a plain threshold.
    """
    for length in [*(length for length in LENGTHS if length < count), count]:
        yield _of_lists([_cut(image, drawn_names(image, length, count)) for image in images], length)


def drawn_names(image: Decided, length: int, count: int) -> list[int]:
    """The labels that an image is asked for in a list of `length` of `count`."""
    order = np.random.default_rng(zlib.crc32(image.id.encode("utf-8", "surrogateescape"))).permutation(count) + 1
    others = [label for label in order.tolist() if label not in image.present]
    return [*image.present, *others][:length]


def _cut(image: Decided, asked: list[int]) -> Decided:
    scores = None if image.scores is None else tuple(image.scores[label - 1] for label in asked)
    places = range(1, len(asked) + 1)
    present, kept = ({p for p in places if asked[p - 1] in labels} for labels in (image.present, image.kept))
    return Decided(image.id, tuple(present), tuple(kept), scores)


def _of_lists(images: Sequence[Decided], length: int) -> ListPresence:
    total = Presence()
    for image in images:
        total += presence(image.present, image.kept)
    ap = None
    if all(image.scores is not None for image in images):
        truth = np.array([[place in image.present for place in range(1, length + 1)] for image in images])
        ap = average_precision(np.array([image.scores for image in images], np.float64).ravel(), truth.ravel())
    kept, there = total.kept_present + total.kept_absent, total.kept_present + total.missed
    rates = (total.precision, total.recall, total.micro_f1)
    return ListPresence(length, *rates, ap, kept / len(images), there / len(images))


def presence(present: Iterable[int], kept: Iterable[int]) -> Presence:
    """Counts of one image from the labels that are present and those that the policy kept."""
    present, kept = set(present), set(kept)
    return Presence(len(present & kept), len(kept - present), len(present - kept))


@dataclass(frozen=True)
class Survival:
    """What became of the classes that are present and were kept, over image x class, where the ground truth shows them.

    found: how many. no_pixel: of these, without a pixel in the answer. under_tenth: with under a tenth of their own
    pixels right, those without any among them.

    >>> import numpy as np
    >>> survival(np.array([[5, 0, 0], [30, 10, 0], [0, 0, 40]]), [1, 2], [1, 2])
    Survival(found=2, no_pixel=0, under_tenth=0)
    >>> survival(np.array([[5, 0, 0], [39, 1, 0], [40, 0, 0]]), [1, 2], [1, 2])
    Survival(found=2, no_pixel=1, under_tenth=2)
    """

    found: int = 0
    no_pixel: int = 0
    under_tenth: int = 0

    def __add__(self, other: "Survival") -> "Survival":
        return Survival(self.found + other.found, self.no_pixel + other.no_pixel, self.under_tenth + other.under_tenth)


def survival(confusion: Confusion, present: Iterable[int], kept: Iterable[int]) -> Survival:
    """One image's counts. confusion: (C, C) pixels by truth and prediction, 0 = background."""
    total = Survival()
    for label in set(present) & set(kept):
        right, there = int(confusion[label, label]), int(confusion[label].sum())
        if there:
            total += Survival(1, int(not confusion[:, label].any()), int(10 * right < there))
    return total


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
