"""Connected regions of masks, edge to edge, and masks grown or shrunk by a rim."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def number_regions(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """(H, W) the number of each pixel's region, from 1 in the order of their first pixels row by row; 0 outside.

    >>> number_regions(np.array([[True, False, True], [True, False, False]])).tolist()
    [[1, 0, 2], [1, 0, 0]]
    """
    begins = mask.copy()
    begins[:, 1:] &= ~mask[:, :-1]
    runs = np.cumsum(begins.ravel(), dtype=np.int32).reshape(mask.shape) * mask
    touching = mask[1:] & mask[:-1]
    touching[:, 1:] &= ~touching[:, :-1]  # two runs above each other touch along one piece
    roots = _join(int(begins.sum()) + 1, runs[:-1][touching], runs[1:][touching])
    first = np.unique(roots)
    return np.searchsorted(first, roots).astype(np.int32)[runs]


def _join(count: int, upper: NDArray[np.int32], lower: NDArray[np.int32]) -> NDArray[np.int32]:
    """(count,) for each run the first run that pairs of touching runs connect it with."""
    roots = np.arange(count, dtype=np.int32)
    while (roots[upper] != roots[lower]).any():
        one, other = roots[upper], roots[lower]
        np.minimum.at(roots, np.maximum(one, other), np.minimum(one, other))
        while (roots != roots[roots]).any():
            roots = roots[roots]
    return roots


def grow(mask: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    """The mask and all pixels that lead to it in at most `steps` steps from edge to edge.

    >>> grow(np.array([[False, True, False, False]]), 1).tolist()
    [[True, True, True, False]]
    """
    for _ in range(steps):
        larger = mask.copy()
        larger[1:] |= mask[:-1]
        larger[:-1] |= mask[1:]
        larger[:, 1:] |= mask[:, :-1]
        larger[:, :-1] |= mask[:, 1:]
        mask = larger
    return mask


def shrink(mask: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    """The mask without its rim of `steps` pixels; the picture's border is rim too."""
    return ~grow(np.pad(~mask, 1, constant_values=True), steps)[1:-1, 1:-1]
