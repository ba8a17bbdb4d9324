"""Bootstrap intervals over images: how far a mean IoU would move if the images were others of the same kind.

The mean IoU of a resampled data set needs, of each image, only the pixels found, actual and predicted of
each class that occurs in it: three sparse rows an image, kept in `ImageCounts`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.evaluation.metrics import Confusion
from pnp_ovss.settings import check_seed
from pnp_ovss.words import counted

RESAMPLES = 2000
LEVEL = 0.95
_CHUNK = 250  # resamples at once, a divisor of them all: bounds the memory


@dataclass(frozen=True)
class Interval:
    """A value and the bounds between which `level` of the resampled values lie."""

    value: float
    low: float
    high: float
    level: float = LEVEL

    def excludes(self, value: float) -> bool:
        """Whether `value` lies outside the bounds; for a difference, `excludes(0)` means it is real."""
        return value < self.low or value > self.high


@dataclass(frozen=True)
class ImageCounts:
    """One image's confusion matrix without its zeros; JSON takes the three lists of `to_json`."""

    size: int
    codes: NDArray[np.int64]
    """row * size + column of each entry."""
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, confusion: Confusion) -> "ImageCounts":
        """The entries of a full matrix that are not zero."""
        flat = confusion.ravel()
        codes = np.flatnonzero(flat)
        return cls(len(confusion), codes, flat[codes])

    def confusion(self) -> Confusion:
        """The full matrix again."""
        flat = np.zeros(self.size * self.size, dtype=np.int64)
        flat[self.codes] = self.counts
        return flat.reshape(self.size, self.size)

    def to_json(self) -> list[list[int]]:
        """[truth, prediction, pixels] of each entry."""
        rows, columns = np.divmod(self.codes, self.size)
        return np.stack([rows, columns, self.counts], axis=1).tolist()

    @classmethod
    def from_json(cls, entries: Sequence[Sequence[int]], size: int) -> "ImageCounts":
        """The counts again from what `to_json` gave; `size` is the number of classes + 1."""
        table = np.array(entries, dtype=np.int64).reshape(-1, 3)
        return cls(size, table[:, 0] * size + table[:, 1], table[:, 2])


def bootstrap_miou(images: Sequence[ImageCounts], labels: Sequence[int], *, seed: int = 0) -> Interval:
    """Interval of the mean IoU over `labels` when whole images are drawn with replacement.

    In each resample, as in the value itself, a label in neither prediction nor ground truth is left out of
    the mean. Raises ValueError without images.
    """
    counts = _sums(images, labels)
    return _bootstrap(lambda weights: _miou(weights, counts), len(images), seed)


def bootstrap_difference(
    ours: Sequence[ImageCounts],
    theirs: Sequence[ImageCounts],
    labels: Sequence[int],
    *,
    seed: int = 0,
) -> Interval:
    """Interval of the mean IoU of `ours` minus that of `theirs` on the same images in the same order.

    Both are resampled together, so what the images have in common cancels. Raises ValueError for unequal
    lengths.
    """
    if len(ours) != len(theirs):
        raise ValueError(
            f"{counted(len(ours), 'image')} against {len(theirs)}: a paired difference needs the same images"
        )
    first, second = _sums(ours, labels), _sums(theirs, labels)
    return _bootstrap(lambda weights: _miou(weights, first) - _miou(weights, second), len(ours), seed)


def _sums(images: Sequence[ImageCounts], labels: Sequence[int]) -> NDArray[np.float64]:
    """Pixels found, actual and predicted: (3, N, len(labels))."""
    if not images:
        raise ValueError("no images to draw from")
    sums = np.zeros((3, len(images), images[0].size))
    for index, image in enumerate(images):
        rows, columns = np.divmod(image.codes, image.size)
        same = rows == columns
        sums[0, index, rows[same]] = image.counts[same]
        np.add.at(sums[1, index], rows, image.counts)
        np.add.at(sums[2, index], columns, image.counts)
    return sums[:, :, list(labels)]


def _bootstrap(statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]], images: int, seed: int) -> Interval:
    """A statistic of all images, and its interval. statistic: (R, N), how often each image is drawn, to (R,) values."""
    generator = np.random.default_rng(check_seed(seed))
    share = np.full(images, 1 / images)
    draws = (generator.multinomial(images, share, size=_CHUNK) for _ in range(0, RESAMPLES, _CHUNK))
    values = np.concatenate([statistic(drawn.astype(np.float64)) for drawn in draws])
    value, known = float(statistic(np.ones((1, images)))[0]), values[~np.isnan(values)]
    if not known.size:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def _miou(weights: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean IoU of each weighting (R, N): (R,); NaN where no label occurs."""
    found, actual, predicted = (weights @ part for part in counts)
    union = actual + predicted - found
    occurs = union > 0
    iou = np.divide(found, union, out=np.zeros_like(union), where=occurs)
    classes = occurs.sum(axis=1)
    return np.divide(iou.sum(axis=1), classes, out=np.full(len(weights), np.nan), where=classes > 0)
