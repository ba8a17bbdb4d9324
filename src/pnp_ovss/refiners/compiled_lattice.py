"""The permutohedral lattices of a photo's pixels, compiled by numba: those of `permutohedral`, found by hashing.

Blocks of features go through each step together, so that LLVM makes vector loops of it. Float32 constants and the order of the
operations are those of `permutohedral`: the same points are occupied. They are numbered in the order in which pixels meet them,
which keeps neighbours in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pnp_ovss.refiners.rows import jit

BLOCK = 256
VERTICES = 9  # of a pixel: three on the lattice of positions, six on that of positions and colours
PADDING = 16  # pixels that an update takes at once


class Lattices(NamedTuple):
    """Lattices on the same N pixels in one numbering of all M points.

    vertices (N', 9) int32, weights (N', 9) float32: N' is N and some rows of weight 0. The weights hold the square root of
    `weight · D^-1/2 · α · D^-1/2` of `densecrf.pairwise_kernel`, so that they serve before and after the blur. links: of each
    lattice its first point and the neighbours (d+1, M_i, 2) int32, M where there is none.
    """

    vertices: np.ndarray
    weights: np.ndarray
    links: tuple[tuple[int, np.ndarray], ...]
    points: int


def build_lattices(features: Sequence[np.ndarray], weights: Sequence[float]) -> Lattices | None:
    """The lattices of the features (d, N) float32; None where their cells have no numbers below 2^62."""
    numberings = [_numbering(rows) for rows in features]
    if any(span * (len(rows) + 1) >= 2**62 for rows, (_, _, span) in zip(features, numberings, strict=True)):
        return None
    columns, pixels = sum(len(rows) + 1 for rows in features), features[0].shape[1]
    padded = math.ceil(pixels / PADDING) * PADDING
    vertices, shares = np.zeros((padded, columns), np.int32), np.zeros((padded, columns), np.float32)
    mass = np.zeros(columns * pixels + 1, np.float32)
    first, column, found = 0, 0, []
    for rows, (strides, lows, span) in zip(features, numberings, strict=True):
        here = slice(column, column + len(rows) + 1)
        seen = vertices[:, here], shares[:, here]
        keys, slots = _occupy(rows, _scales(len(rows)), strides, lows, span, *seen, first, mass)
        found.append((first, keys, slots, strides, span, seen))
        first, column = first + len(keys), here.stop
    links = tuple(
        (start, _link(keys, slots, strides, span, start, first)) for start, keys, slots, strides, span, _ in found
    )
    mass, spare = mass[: first + 1], np.zeros(first + 1, np.float32)
    for (start, pairs), (*_, seen), weight in zip(links, found, weights, strict=True):
        _normalise(*seen, _blurred(mass, spare, start, pairs), 1 / (1 + 2.0 ** (1 - len(pairs))), weight)
    return Lattices(vertices, shares, links, first)


def _scales(d: int) -> np.ndarray:
    """What `permutohedral._elevate` multiplies the features by."""
    deviation = float(np.float32((d + 1) * math.sqrt(2 / 3)))
    return np.array([1 / math.sqrt(i * (i + 1)) * deviation for i in range(1, d + 1)], np.float32)


def _numbering(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Strides, lows and span as in `permutohedral._numbering`, from the box of the features: what it may hold at most."""
    d, scales = len(features), _scales(len(features)).astype(np.float64)
    low, high = features.min(1) * scales, features.max(1) * scales
    strides, lows, span = [], [], 1
    for i in range(d):
        least, most = low[i:].sum(), high[i:].sum()
        if i:
            least, most = least - i * high[i - 1], most - i * low[i - 1]
        bottom, top = math.floor(least / (d + 1)) - 3, math.ceil(most / (d + 1)) + 3
        strides.append(min(span, 2**62))
        lows.append(bottom)
        span *= top - bottom + 1
    return np.array([*strides, 0], np.int64), np.array([*lows, 0], np.int64), span


@jit
def _elevate(features, scales, elevated):
    above = elevated[0]
    above[:] = 0
    for i in range(len(features), 0, -1):
        feature, row, scale, times = features[i - 1], elevated[i], scales[i - 1], np.float32(i)
        for b in range(BLOCK):
            scaled = feature[b] * scale
            row[b] = above[b] - scaled * times
            above[b] += scaled


@jit
def _enclose(elevated, corner, rank, offset):
    size = len(elevated)
    part, whole = np.float32(1 / size), np.float32(size)
    rank[:] = 0
    for i in range(size):
        for b in range(BLOCK):
            corner[i, b] = np.rint(elevated[i, b] * part)
            offset[i, b] = elevated[i, b] - corner[i, b] * whole
        for j in range(size):
            ranks, corners = rank[j], corner[i]
            for b in range(BLOCK):
                ranks[b] += np.int32(corners[b])
    for i in range(size):
        for j in range(i + 1, size):
            one, two, ranks, others = offset[i], offset[j], rank[i], rank[j]
            for b in range(BLOCK):
                less = np.int32(one[b] < two[b])
                ranks[b] += less
                others[b] += np.int32(1) - less
    for i in range(size):
        vector, corners, ranks, offsets = elevated[i], corner[i], rank[i], offset[i]
        for b in range(BLOCK):
            wrap = np.int32(ranks[b] < 0) - np.int32(ranks[b] >= size)
            ranks[b] += wrap * np.int32(size)
            corners[b] += np.float32(wrap)
            offsets[b] = (vector[b] - corners[b] * whole) * part


@jit
def _encode(corner, rank, strides, lows, span, codes):
    size, first = len(corner), codes[0]
    for k in range(size):
        codes[k, :] = k * span
    for i in range(size):
        stride, low, corners, ranks = strides[i], lows[i], corner[i], rank[i]
        for b in range(BLOCK):
            first[b] += stride * (np.int64(corners[b]) - low)
        for k in range(1, size):
            row = codes[k]
            for b in range(BLOCK):
                row[b] -= stride if ranks[b] >= size - k else 0
    for k in range(1, size):
        row = codes[k]
        for b in range(BLOCK):
            row[b] += first[b]


@jit
def _weigh(rank, offset, ordered, weights):
    size = len(rank)
    for k in range(size):
        row = ordered[k]
        row[:] = 0
        for i in range(size):
            ranks, offsets = rank[i], offset[i]
            for b in range(BLOCK):
                row[b] += offsets[b] if ranks[b] == k else np.float32(0)
    for k in range(size):
        row, low, high = weights[k], ordered[size - 1 - k], ordered[(size - k) % size]
        lift = np.float32(k == 0)
        for b in range(BLOCK):
            row[b] = lift + low[b] - high[b]


@jit
def _find(slots, keys, key):
    """The slot that holds a key's number, or the free one for it; keys that differ in two bits share a cache line."""
    mask, code = np.uint64(len(slots) - 1), np.uint64(key)
    mixed = (code >> np.uint64(2)) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(32)
    at = (mixed << np.uint64(2) | code & np.uint64(3)) & mask
    while slots[at] >= 0 and keys[slots[at]] != key:
        at = (at + np.uint64(1)) & mask
    return at


@jit
def _number(codes, many, weights, slots, keys, count, first, vertices, shares, mass):
    """Number the vertices of `many` features, add up their weights; returns how many points there are now."""
    for b in range(many):
        for k in range(len(codes)):
            at = _find(slots, keys, codes[k, b])
            if slots[at] < 0:
                slots[at] = count
                keys[count] = codes[k, b]
                count += 1
            vertices[b, k] = first + slots[at]
            shares[b, k] = weights[k, b]
            mass[first + slots[at]] += weights[k, b]
    return count


@jit
def _occupy(features, scales, strides, lows, span, vertices, shares, first, mass):
    """Fill the vertices (numbers from `first` on), their weights and each point's mass; returns keys and slots."""
    (d, pixels), size = features.shape, len(features) + 1
    block, elevated = np.zeros((d, BLOCK), np.float32), np.empty((size, BLOCK), np.float32)
    corner, offset, weights = np.empty_like(elevated), np.empty_like(elevated), np.empty_like(elevated)
    rank, codes = np.empty((size, BLOCK), np.int32), np.empty((size, BLOCK), np.int64)
    slots, keys, count = np.full(1 << 16, -1, np.int32), np.empty(size * pixels, np.int64), 0
    for start in range(0, pixels, BLOCK):
        many = min(BLOCK, pixels - start)
        for i in range(d):
            block[i, :many] = features[i, start : start + many]
        _elevate(block, scales, elevated)
        _enclose(elevated, corner, rank, offset)
        _encode(corner, rank, strides, lows, span, codes)
        _weigh(rank, offset, elevated, weights)
        if 2 * (count + size * BLOCK) > len(slots):
            slots = np.full(4 * len(slots), -1, np.int32)
            for i in range(count):
                slots[_find(slots, keys, keys[i])] = i
        count = _number(codes, many, weights, slots, keys, count, first, vertices[start:], shares[start:], mass)
    return keys[:count].copy(), slots


@jit
def _link(keys, slots, strides, span, first, missing):
    """Both neighbours (d+1, M_i, 2) of each point along each direction, as in `permutohedral._neighbours`."""
    size = len(strides)
    pairs = np.full((size, len(keys), 2), missing, np.int32)
    wrapped = (size - 1) * span - strides.sum()
    for i in range(len(keys)):
        down = keys[i] + (wrapped if keys[i] < span else -span)
        for j in range(size):
            found = slots[_find(slots, keys, down + strides[j])]
            if found >= 0:
                pairs[j, i, 0] = first + found
                pairs[j, found, 1] = first + i
    return pairs


@jit
def _blurred(mass, spare, first, pairs):
    half = np.float32(0.5)
    for j in range(len(pairs)):
        for i in range(pairs.shape[1]):
            spare[first + i] = mass[first + i] + half * (mass[pairs[j, i, 0]] + mass[pairs[j, i, 1]])
        mass, spare = spare, mass
    return mass


@jit
def _normalise(vertices, shares, mass, alpha, weight):
    scale, tiny = np.float32(alpha), np.float32(1e-20)
    compat = np.float32(weight * alpha)
    for p in range(len(vertices)):
        total = np.float32(0)
        for k in range(vertices.shape[1]):
            total += shares[p, k] * mass[vertices[p, k]]
        factor = np.sqrt(compat / (scale * total + tiny))
        for k in range(vertices.shape[1]):
            shares[p, k] *= factor
