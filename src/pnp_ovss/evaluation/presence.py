"""How well a class policy decides which classes are in an image: precision, recall and micro-F1."""

from collections.abc import Iterable
from dataclasses import dataclass

from pnp_ovss.evaluation.metrics import Confusion


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
