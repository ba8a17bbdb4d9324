"""Masks from COCO's polygons and run lengths, pixel for pixel as COCO's own tools draw them.

COCO stores runs column by column (top to bottom, then left to right), and so does everything here. A
polygon is drawn on a grid five times finer; where its outline passes the centre of a pixel column, the
column changes between outside and inside from that row on.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.errors import DatasetError

_FINE = 5

Mask = NDArray[np.bool_]


def rasterise(segmentation: object, height: int, width: int) -> Mask:
    """Mask (height, width) of a COCO `segmentation`: polygons [[x, y, x, y, ...], ...] or {"counts", "size"}.

    Raises DatasetError for anything else.
    """
    if isinstance(segmentation, dict):
        return _from_runs(segmentation, height, width)
    if not isinstance(segmentation, list) or not segmentation:
        raise DatasetError(f"segmentation {str(segmentation)[:60]!r}: expected polygons or run lengths")
    mask = np.zeros((height, width), dtype=bool)
    for polygon in segmentation:
        mask |= rasterise_polygon(polygon, height, width)
    return mask


def rasterise_polygon(polygon: Sequence[float], height: int, width: int) -> Mask:
    """Mask (height, width) of one polygon [x0, y0, x1, y1, ...] in pixels, (0, 0) the top left corner."""
    if len(polygon) < 6 or len(polygon) % 2:
        raise DatasetError(f"polygon of {len(polygon)} numbers: expected x, y of three corners or more")
    corners = (_FINE * np.asarray(polygon, dtype=np.float64).reshape(-1, 2) + 0.5).astype(np.int64)
    x, y = _outline(corners, np.roll(corners, -1, axis=0))
    passed = (x[1:] != x[:-1]) & (np.minimum(x[1:], x[:-1]) % _FINE == _FINE // 2)
    column = np.minimum(x[1:], x[:-1])[passed] // _FINE
    row = -((_FINE // 2 - np.minimum(y[1:], y[:-1])[passed]) // _FINE)  # rounded up
    inside = (column >= 0) & (column < width)
    starts = column[inside] * height + np.clip(row[inside], 0, height)
    flips = np.bincount(starts, minlength=height * width + 1)[: height * width]
    return _columns(np.cumsum(flips) % 2 == 1, height, width)


def _outline(start: NDArray[np.int64], end: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Points (x, y) of all edges on the fine grid, one a step along each edge's longer direction.

    Each edge is interpolated from its smaller end, so that a shared edge of two polygons has the same points.
    """
    delta = np.abs(end - start)
    across = delta[:, 0] >= delta[:, 1]
    steps = delta.max(axis=1)
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


def _from_runs(runs: dict, height: int, width: int) -> Mask:
    """Mask of run lengths {"size": [height, width], "counts": list or COCO's compressed string}."""
    counts = runs.get("counts")
    if isinstance(counts, str | bytes):
        counts = decode_counts(counts)
    if list(runs.get("size", ())) != [height, width] or counts is None or sum(counts) != height * width:
        raise DatasetError(
            f"run lengths of size {runs.get('size')} in an image of {height} x {width}: expected counts that fill it"
        )
    values = np.arange(len(counts)) % 2 == 1
    return _columns(np.repeat(values, counts), height, width)


def decode_counts(text: str | bytes) -> list[int]:
    """Run lengths from COCO's compressed form.

    Six bits a character from "0" on: five of the number, lowest first, and one that says whether more
    follow; the top bit of the last five is the sign. From the fourth number on, each is the difference to
    the one two before.
    """
    data = text.encode() if isinstance(text, str) else text
    counts: list[int] = []
    value = shift = 0
    for byte in data:
        bits = byte - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return counts


def _columns(flat: NDArray[np.bool_], height: int, width: int) -> Mask:
    return np.ascontiguousarray(flat.reshape(width, height).T)
