"""How well a class policy decides which classes are in an image: precision, recall and micro-F1."""

from collections.abc import Iterable
from dataclasses import dataclass


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


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
