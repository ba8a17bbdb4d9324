"""Regions too small to mean anything, given to what is around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.masks.regions import number_regions

SPECK_SHARE = 1 / 5000
"""Regions below this share of a photo's pixels are specks: 61 px of 640 x 480, 38 px of 500 x 375."""


def remove_specks(labels: NDArray[np.integer], min_px: int) -> NDArray[np.integer]:
    """(H, W) labels whose connected regions (edge to edge, background too) have at least `min_px` pixels.

    Smaller ones are taken over by the regions around them that stay. Unchanged if no region is large enough.

    >>> remove_specks(np.array([[1, 1, 1, 0], [1, 2, 1, 0], [1, 1, 1, 0]]), 2).tolist()
    [[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0]]
    """
    small = np.zeros(labels.shape, dtype=bool)
    for label in np.unique(labels):
        regions = number_regions(labels == label)
        few = np.bincount(regions.ravel()) < min_px
        few[0] = False  # the pixels of other labels
        small |= few[regions]
    if small.all() or not small.any():
        return labels
    return _spread(labels, small).astype(labels.dtype)


def _spread(labels: NDArray[np.integer], gaps: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The labels with their gaps filled from the rims inwards, pixel by pixel, so that nothing new is cut off.

    Of several neighbours the first in the order above, left, right, below gives the label.
    """
    filled = np.pad(np.where(gaps, -1, labels.astype(np.int32)), 1, constant_values=-1)
    y, x = np.nonzero(np.pad(gaps, 1))
    while y.size:
        around = np.stack([filled[y - 1, x], filled[y, x - 1], filled[y, x + 1], filled[y + 1, x]])
        label = around[(around >= 0).argmax(axis=0), np.arange(y.size)]
        known = label >= 0
        filled[y[known], x[known]] = label[known]
        y, x = y[~known], x[~known]
    return filled[1:-1, 1:-1]
