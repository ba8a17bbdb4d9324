"""Regions too small to mean anything, given to what is around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

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
        regions, _ = ndimage.label(labels == label)
        few = np.bincount(regions.ravel()) < min_px
        few[0] = False  # the pixels of other labels
        small |= few[regions]
    if small.all() or not small.any():
        return labels
    markers = np.pad(np.where(small, 0, labels.astype(np.int32) + 1), 1)
    walls = np.pad(np.zeros(labels.shape, dtype=np.uint8), 1, constant_values=255)  # SciPy's rows join at their ends
    return ndimage.watershed_ift(walls, markers)[1:-1, 1:-1] - 1  # markers grow edge by edge: nothing new is cut off
