"""Masks from COCO's polygons and run lengths, pixel for pixel as COCO's own tools draw them.

A polygon is drawn on a grid five times finer; where its outline passes the centre of a pixel column, the column changes
between outside and inside from that row on.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.errors import DatasetError
from pnp_ovss.masks.rle import Mask, columns, decode_mask

_FINE = 5
MAX_OUTSIDE_PX = 100_000
"""Corners farther outside the image are refused: drawing them takes memory without bound."""
MAX_OUTLINE = 50_000_000
"""Steps of a polygon's outline on the fine grid that are drawn at most."""


def rasterise(segmentation: object, height: int, width: int) -> Mask:
    """Mask (height, width) of a COCO `segmentation`: polygons [[x, y, x, y, ...], ...] or {"counts", "size"}.

    Raises DatasetError for anything else.
    """
    if isinstance(segmentation, dict):
        return decode_mask(segmentation, height, width)
    if not isinstance(segmentation, list) or not segmentation:
        raise DatasetError(f"segmentation {str(segmentation)[:60]!r}: expected polygons or run lengths")
    mask = np.zeros((height, width), dtype=bool)
    for polygon in segmentation:
        mask |= rasterise_polygon(polygon, height, width)
    return mask


def rasterise_polygon(polygon: Sequence[float], height: int, width: int) -> Mask:
    """Mask (height, width) of one polygon [x0, y0, x1, y1, ...] in pixels, (0, 0) the top left corner.

    Raises DatasetError for fewer than three corners, for what is no number and for corners far outside.
    """
    corners = (_FINE * _corners(polygon, max(height, width)) + 0.5).astype(np.int64)
    x, y = _outline(corners, np.roll(corners, -1, axis=0))
    passed = (x[1:] != x[:-1]) & (np.minimum(x[1:], x[:-1]) % _FINE == _FINE // 2)
    column = np.minimum(x[1:], x[:-1])[passed] // _FINE
    row = -((_FINE // 2 - np.minimum(y[1:], y[:-1])[passed]) // _FINE)  # rounded up
    inside = (column >= 0) & (column < width)
    starts = column[inside] * height + np.clip(row[inside], 0, height)
    flips = np.bincount(starts, minlength=height * width + 1)[: height * width]
    return columns(np.cumsum(flips) % 2 == 1, height, width)


def _corners(polygon: Sequence[float], side: int) -> NDArray[np.float64]:
    """(n, 2) of a polygon that can be drawn in an image of this longer side. Raises DatasetError."""
    if not isinstance(polygon, list | tuple) or not all(type(value) in (int, float) for value in polygon):
        raise DatasetError(f"polygon {str(polygon)[:40]!r}: expected a list of numbers x, y, x, y, ...")
    if len(polygon) < 6 or len(polygon) % 2:
        raise DatasetError(f"polygon of {len(polygon)} numbers: expected x, y of three corners or more")
    if far := next((value for value in polygon if not abs(value) <= side + MAX_OUTSIDE_PX), None):
        raise DatasetError(f"polygon with a corner at {str(far)[:20]}, far outside an image of {side} px")
    return np.asarray(polygon, dtype=np.float64).reshape(-1, 2)


def _outline(start: NDArray[np.int64], end: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Points (x, y) of all edges on the fine grid, one a step along each edge's longer direction.

    Each edge is interpolated from its smaller end, so that a shared edge of two polygons has the same points.
    """
    delta = np.abs(end - start)
    across = delta[:, 0] >= delta[:, 1]
    steps = delta.max(axis=1)
    if steps.sum() > MAX_OUTLINE:
        raise DatasetError(f"polygon of {len(steps)} corners whose outline is {steps.sum() // _FINE} px long: too long")
    major = np.where(across[:, None], start, start[:, ::-1])
    last = np.where(across[:, None], end, end[:, ::-1])
    reverse = major[:, 0] > last[:, 0]
    low = np.where(reverse[:, None], last, major)
    high = np.where(reverse[:, None], major, last)
    slope = (high[:, 1] - low[:, 1]) / np.maximum(steps, 1)

    edge = np.repeat(np.arange(len(steps)), steps + 1)
    first = np.concatenate([[0], np.cumsum(steps + 1)[:-1]])
    step = np.arange(len(edge)) - first[edge]
    step = np.where(reverse[edge], steps[edge] - step, step)
    long = low[edge, 0] + step
    short = (low[edge, 1] + slope[edge] * step + 0.5).astype(np.int64)
    return np.where(across[edge], long, short), np.where(across[edge], short, long)
