"""Exact outlines of masks: polygons along the edges between pixels, with their holes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Ring = NDArray[np.int64]
"""(n, 2) corners (x, y) between pixels, (0, 0) the photo's top left corner, the region on the right-hand side."""

_STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))
"""(y, x) of a step east, south, west, north: each the one before turned right."""


@dataclass(frozen=True)
class Region:
    """One connected region (edge to edge) of a mask: its outer ring and those of its holes."""

    outer: Ring
    holes: tuple[Ring, ...]


def trace_regions(mask: NDArray[np.bool_]) -> list[Region]:
    """The regions of a (H, W) mask, from top to bottom; filled by the even-odd rule they give the mask back.

    >>> trace_regions(np.array([[True]]))[0].outer.tolist()
    [[0, 0], [1, 0], [1, 1], [0, 1]]
    """
    numbers, _ = ndimage.label(mask)
    edges = _edges(mask)
    outers: dict[int, Ring] = {}
    holes: dict[int, list[Ring]] = {}
    for y, x in np.argwhere(edges[0]).tolist():
        if edges[0, y, x]:  # not walked yet; the pixel below it belongs to the region
            ring = _walk(edges, y, x)
            number = int(numbers[y, x])
            if _area(ring) > 0:
                outers[number] = ring
            else:
                holes.setdefault(number, []).append(ring)
    return [Region(ring, tuple(holes.get(number, ()))) for number, ring in outers.items()]


def join_holes(region: Region) -> Ring:
    """One ring for formats without holes: each hole hangs on a seam of width zero, walked there and back."""
    ring = region.outer
    for hole in region.holes:
        near = int(np.abs(ring - hole[0]).sum(axis=1).argmin())
        ring = np.concatenate([ring[: near + 1], hole, hole[:1], ring[near:]])
    return ring


def _edges(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(4, H + 1, W + 1): whether a border starts at this corner and goes east, south, west, north."""
    height, width = mask.shape
    padded = np.pad(mask, 1)
    edges = np.zeros((4, height + 1, width + 1), dtype=bool)
    edges[0, :, :-1] = (padded[1:] & ~padded[:-1])[:, 1:-1]
    edges[1, :-1, :] = (padded[:, :-1] & ~padded[:, 1:])[1:-1]
    edges[2, :, 1:] = (padded[:-1] & ~padded[1:])[:, 1:-1]
    edges[3, 1:, :] = (padded[:, 1:] & ~padded[:, :-1])[1:-1]
    return edges


def _walk(edges: NDArray[np.bool_], y: int, x: int) -> Ring:
    """The ring that starts east from (y, x), removed from `edges`; right turns first keep regions edge to edge."""
    corners, direction, start = [(x, y)], 0, (y, x)
    while True:
        edges[direction, y, x] = False
        y, x = y + _STEPS[direction][0], x + _STEPS[direction][1]
        for turn in (1, 0, -1):
            ahead = (direction + turn) % 4
            if (y, x) == start and ahead == 0:  # round; another ring may touch this corner
                return np.array(corners, dtype=np.int64)
            if edges[ahead, y, x]:
                break
        if turn:
            corners.append((x, y))
        direction = ahead


def _area(ring: Ring) -> int:
    """Twice the signed area; positive when the region is inside."""
    x, y = ring[:, 0], ring[:, 1]
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())
