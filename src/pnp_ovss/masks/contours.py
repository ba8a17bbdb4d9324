"""Exact outlines of masks: along the edges between pixels with their holes, or through the rim pixels' centres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.masks.regions import number_regions

Ring = NDArray[np.int64]
"""(n, 2) corners (x, y) between pixels, (0, 0) the photo's top left corner, the region on the right-hand side."""

_STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))
"""(y, x) of a step east, south, west, north: each the one before turned right."""
_INSIDE = np.array([(0, 0), (-1, 0), (-1, -1), (0, -1)])
"""(x, y) from where such a step begins to the pixel on its right-hand side, which is inside."""


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
    numbers = number_regions(mask)
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


def joined_outline(region: Region, mask: NDArray[np.bool_]) -> Ring:
    """(n, 2) one ring (x, y) through the centres of a region's rim pixels, for formats of one ring without holes.

    Drawn with its line and filled by the even-odd rule, as OpenCV's fillPoly does, it is the region, pixel for pixel.
    Each hole hangs on a seam that is walked there and back, level and inside the region. mask: what was traced.

    >>> mask = np.ones((2, 3), dtype=bool)
    >>> joined_outline(trace_regions(mask)[0], mask).tolist()
    [[0, 0], [2, 0], [2, 1], [0, 1]]
    """
    ring = _through_pixels(region.outer)
    holes = (_through_pixels(hole) for hole in region.holes)
    starts = [np.roll(hole, -int(hole[:, 0].argmin()), axis=0) for hole in holes]  # each from its leftmost pixel
    for hole in sorted(starts, key=lambda points: int(points[0, 0])):  # what lies to the left of it is joined already
        x, y = hole[0].tolist()
        outside = np.flatnonzero(~mask[y, :x])
        anchor = np.array([[int(outside[-1]) + 1 if outside.size else 0, y]])
        near = _edge_through(ring, anchor[0])
        ring = np.concatenate([ring[: near + 1], anchor, hole, hole[:1], anchor, ring[near + 1 :]])
    return ring


def _through_pixels(ring: Ring) -> Ring:
    """The ring half a pixel further in: a corner between pixels becomes the pixel of the region at that corner."""
    before, after = _directions(np.roll(ring, 1, axis=0), ring), _directions(ring, np.roll(ring, -1, axis=0))
    right = (after - before) % 4 == 1
    return ring + _INSIDE[np.where(right, after, before)]


def _directions(start: Ring, end: Ring) -> NDArray[np.int64]:
    """(n,) 0 east, 1 south, 2 west, 3 north."""
    x, y = np.sign(end - start).T
    return np.where(x != 0, 1 - x, 2 - y)


def _edge_through(ring: Ring, point: NDArray[np.int64]) -> int:
    """The first of the ring's edges, all level or upright, on which a point lies."""
    ends = np.roll(ring, -1, axis=0)
    on = (np.minimum(ring, ends) <= point) & (point <= np.maximum(ring, ends))
    return int(on.all(axis=1).argmax())


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
