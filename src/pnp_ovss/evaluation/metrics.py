"""Segmentation metrics from one confusion matrix: pure functions on counts.

A confusion matrix is (C + 1, C + 1) int64: row = ground truth, column = prediction, index 0 = background, i
= class i. Matrices of parts of a data set add up to the matrix of the whole, so any sharding gives the same
numbers.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.datasets.base import VOID

Confusion = NDArray[np.int64]
Void = Literal["ignore", "background"]


@dataclass(frozen=True)
class Metrics:
    """What a confusion matrix says; shares in [0, 1], NaN where there is nothing to divide by."""

    miou: float
    """Mean IoU over the classes, background among them if the data set has one."""
    miou_without_background: float
    """Mean IoU over the classes but background; its pixels still count against the others."""
    pixel_accuracy: float
    mean_accuracy: float
    """Mean over the classes that occur in the ground truth of the share of their pixels found."""
    frequency_weighted_iou: float
    """IoU weighted with each class's share of the ground truth."""
    per_class: NDArray[np.float64]
    """IoU of the labels 0..C; NaN for a class in neither prediction nor ground truth, and for 0 without background."""


def empty_confusion(classes: int) -> Confusion:
    """The matrix of no pixels, for `classes` classes and background."""
    return np.zeros((classes + 1, classes + 1), dtype=np.int64)


def update(
    confusion: Confusion,
    truth: NDArray[np.integer],
    prediction: NDArray[np.integer],
    *,
    void: Void = "ignore",
) -> Confusion:
    """The matrix with one image's pixels added; the argument is left as it was.

    `truth` and `prediction` are (H, W) labels 0..C, `truth` also `VOID`, which is left out, or counted as
    background with `void="background"` (what the paper's authors do). Raises ValueError for other labels or
    unequal shapes.

    >>> update(empty_confusion(1), np.array([[0, 1, VOID]]), np.array([[0, 0, 1]])).tolist()
    [[1, 0], [1, 0]]
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"prediction of shape {prediction.shape} for ground truth of shape {truth.shape}")
    size = len(confusion)
    known = truth != VOID
    if void == "background":
        truth = np.where(known, truth, 0)
        rows, columns = truth.ravel(), prediction.ravel()
    else:
        rows, columns = truth[known], prediction[known]
    for what, labels in (("ground truth", rows), ("prediction", columns)):
        if labels.size and not (labels.min() >= 0 and labels.max() < size):
            raise ValueError(f"{what} with labels {labels.min()}..{labels.max()}; expected 0..{size - 1}")
    codes = rows.astype(np.int64) * size + columns
    return confusion + np.bincount(codes, minlength=size * size).reshape(size, size)


def compute(confusion: Confusion, *, background: bool, classes: tuple[int, ...] | None = None) -> Metrics:
    """All metrics of a matrix.

    `background` says whether label 0 is a class of the data set; if not, predicting it is only a miss.
    `classes` restricts the means over classes to some labels (the unseen splits of the paper); the pixels
    of all the others still count as false positives and misses.
    """
    found = np.diag(confusion).astype(np.float64)
    actual = confusion.sum(axis=1)
    predicted = confusion.sum(axis=0)
    counted = np.ones(len(confusion), dtype=bool) if classes is None else np.zeros(len(confusion), dtype=bool)
    counted[list(classes or ())] = True
    counted[0] &= background
    iou = np.where(counted, _share(found, actual + predicted - found), np.nan)
    recall = np.where(counted, _share(found, actual), np.nan)
    weights = np.where(counted, actual, 0)
    weighted = float((weights * np.nan_to_num(iou)).sum())
    return Metrics(
        miou=_mean(iou),
        miou_without_background=_mean(iou[1:]),
        pixel_accuracy=float(_share(found[counted].sum(), actual[counted].sum())),
        mean_accuracy=_mean(recall),
        frequency_weighted_iou=float(_share(weighted, weights.sum())),
        per_class=iou,
    )


def _share(part: NDArray | float, whole: NDArray | float) -> NDArray[np.float64]:
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
