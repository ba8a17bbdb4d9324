"""Gaussian filtering on the permutohedral lattice, in plain torch.

Source: Adams, Baek and Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", Eurographics 2010.
The lattice A*_d is the grid (d+1)Z^(d+1) and its shifts by (1, ..., 1), seen along (1, ..., 1). Every feature vector
lies in one simplex of d+1 lattice points, one of each remainder 0..d modulo d+1, so that

    filter(v) = alpha · S B S^T v,   alpha = 1 / (1 + 2^-d)

with S (N, M) the barycentric weights and B a [1/2, 1, 1/2] blur along each of the d+1 lattice directions in turn; a
neighbour that holds no feature counts as 0. S, S^T and the blur are sums of a few rows each (`embedding_bag`): no loop
over points, no scatter, and so the same result every time on every device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from pnp_ovss.errors import RefinerError


@dataclass(frozen=True)
class Lattice:
    """The filter of one set of N feature vectors in d dimensions, on M occupied lattice points.

    vertices (N, d+1) int32, weights (N, d+1) float32: the simplex around each vector and its barycentric coordinates.
    members (N·(d+1),) int32, member_weights (N·(d+1),) float32, starts (M+2,) int32: the transpose, the vectors at each
    lattice point one after the other; one more, empty point at M stands for every missing one.
    neighbours (d+1, M, 2) int32: previous and next lattice point along each direction, M where there is none.
    """

    vertices: torch.Tensor
    weights: torch.Tensor
    members: torch.Tensor
    member_weights: torch.Tensor
    starts: torch.Tensor
    neighbours: torch.Tensor

    def filter(self, values: torch.Tensor) -> torch.Tensor:
        """alpha · S B S^T of `values` (N, C) float32; returns (N, C) float32."""
        table = F.embedding_bag(
            self.members,
            values,
            self.starts,
            mode="sum",
            per_sample_weights=self.member_weights,
            include_last_offset=True,
        )
        twos = _every(2, table.shape[0] - 1, table.device)
        for pairs in self.neighbours:
            near = F.embedding_bag(pairs.view(-1), table, twos, mode="sum", include_last_offset=True)
            table[:-1].add_(near, alpha=0.5)
        table *= 1 / (1 + 2.0 ** (1 - self.vertices.shape[1]))
        return F.embedding_bag(
            self.vertices.view(-1),
            table,
            _every(self.vertices.shape[1], len(values), table.device),
            mode="sum",
            per_sample_weights=self.weights.view(-1),
            include_last_offset=True,
        )

    def scaled(self, before: torch.Tensor, after: torch.Tensor) -> Lattice:
        """The lattice whose filter is diag(after) · filter · diag(before), both (N,) float32."""
        return Lattice(
            self.vertices,
            self.weights * after[:, None],
            self.members,
            self.member_weights * before.index_select(0, self.members),
            self.starts,
            self.neighbours,
        )


def _every(size: int, count: int, device: torch.device) -> torch.Tensor:
    """Starts (count + 1,) int32 of `count` bags of one size: saves `embedding_bag` to make them in int64 at every call."""
    return torch.arange(0, size * count + 1, size, dtype=torch.int32, device=device)


def build_lattice(features: torch.Tensor) -> Lattice:
    """The lattice of `features` (d, N) float32, in units of the Gaussian's standard deviation.

    Raises RefinerError where the features span more lattice cells than 62 bits can number.
    """
    corner, rank, offset = _enclosing_simplex(_elevate(features))
    strides, span = _numbering(corner)
    rank = rank.long()
    weights = _barycentric(torch.empty_like(offset).scatter_(0, rank, offset))
    del offset
    codes = _vertex_codes(corner, rank, strides, span)
    del corner, rank
    return _assemble(codes, weights, strides, span)


def _elevate(features: torch.Tensor) -> torch.Tensor:
    """Features (d, N) on the plane sum = 0 of d+1 dimensions, scaled so that the blur has standard deviation 1.

    Constants and products are rounded to float32 one by one, as in the authors' code: a feature between two simplices
    then falls into the same one, and which lattice points are occupied matters to the blur.
    """
    d = len(features)
    elevated = features.new_empty(d + 1, features.shape[1])
    above = torch.zeros_like(features[0])
    deviation = float(np.float32((d + 1) * math.sqrt(2 / 3)))
    for i in range(d, 0, -1):
        scaled = features[i - 1] * float(np.float32(1 / math.sqrt(i * (i + 1)) * deviation))
        torch.sub(above, scaled * i, out=elevated[i])
        above = above + scaled
    elevated[0] = above
    return elevated


def _enclosing_simplex(elevated: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The simplex around each elevated vector (d+1, N), as three (d+1, N) tensors.

    corner float32: its remainder-0 point in units of d+1; rank int8: position of each coordinate's residue when sorted,
    largest first; offset float32: the residue in units of d+1. Overwrites `elevated`.
    """
    d = len(elevated) - 1
    corner = torch.round(elevated * (1 / (d + 1)))
    residue = torch.sub(elevated, corner, alpha=d + 1)
    rank = torch.zeros_like(corner, dtype=torch.int8)
    for i in range(d + 1):
        for j in range(i + 1, d + 1):
            less = residue[i] < residue[j]
            rank[i] += less
            rank[j] += ~less
    del residue
    rank += corner.sum(0).to(torch.int8)
    wrap = (rank < 0).to(torch.int8) - (rank > d).to(torch.int8)
    rank += wrap * (d + 1)
    corner += wrap
    return corner, rank, elevated.sub_(corner, alpha=d + 1).mul_(1 / (d + 1))


def _barycentric(ordered: torch.Tensor) -> torch.Tensor:
    """Barycentric coordinates (d+1, N), by remainder, from the offsets (d+1, N) sorted by rank."""
    weights = torch.empty_like(ordered)
    weights[0] = 1 + ordered[-1] - ordered[0]
    weights[1:] = (ordered[:-1] - ordered[1:]).flip(0)
    return weights


def _numbering(corner: torch.Tensor) -> tuple[list[int], int]:
    """Strides (one per coordinate) and span that turn lattice points into integers.

    A point of remainder k with coordinates (d+1)·a_i + k has the number k · span + Σ_i stride_i · (a_i − low_i). The
    last coordinate follows from the others, so its stride is 0. A margin keeps neighbours outside from aliasing.
    """
    low, high = corner[:-1].amin(1), corner[:-1].amax(1)
    strides, span = [], 1
    for width in (high - low + 4).tolist():
        strides.append(span)
        span *= int(width)
    if span * len(corner) >= 2**62:
        raise RefinerError(
            f"a permutohedral lattice of 2^{math.log2(span * len(corner)):.0f} cells was asked for, 2^62 is the limit: "
            "use a larger standard deviation (sxy, srgb) or a smaller image"
        )
    return [*strides, 0], span


def _vertex_codes(corner: torch.Tensor, rank: torch.Tensor, strides: list[int], span: int) -> torch.Tensor:
    """Numbers (d+1, N) of the simplex vertices, less k · span in row k; int32 where they fit (twice as fast to sort).

    Vertex k lies at a_i = corner_i, less 1 in the k coordinates of the highest rank.
    """
    dtype = torch.int32 if span * len(corner) < 2**31 else torch.int64
    by_coordinate = torch.tensor(strides, dtype=dtype, device=corner.device)[:, None]
    by_rank = torch.empty_like(corner, dtype=dtype).scatter_(0, rank, by_coordinate.expand_as(rank))
    codes = torch.zeros_like(by_rank)
    for row, stride in zip(corner[:-1], strides[:-1], strict=True):
        codes[0].add_((row - row.min() + 2).to(dtype), alpha=stride)
    for k in range(1, len(corner)):
        torch.sub(codes[k - 1], by_rank[-k], out=codes[k])
    return codes


def _assemble(codes: torch.Tensor, weights: torch.Tensor, strides: list[int], span: int) -> Lattice:
    """Group the (d+1, N) vertices by number, both ways, and link the lattice points to their neighbours."""
    size, points = codes.shape
    members = torch.empty_like(codes, dtype=torch.int32)
    fresh = torch.ones_like(codes, dtype=torch.bool)
    for k in range(size):
        codes[k], order = codes[k].sort(stable=True)
        members[k] = order
        torch.ne(codes[k, 1:], codes[k, :-1], out=fresh[k, 1:])
    first = fresh.flatten().nonzero().flatten()
    keys = codes.flatten().index_select(0, first).add_((first // points).to(codes.dtype), alpha=span)
    ids = fresh.flatten().cumsum(0, dtype=torch.int32).sub_(1).view(size, points)
    vertices = torch.empty_like(ids)
    member_weights = torch.empty_like(weights)
    for k in range(size):
        order = members[k].long()
        vertices[k].scatter_(0, order, ids[k])
        torch.index_select(weights[k], 0, members[k], out=member_weights[k])
    return Lattice(
        vertices.t().contiguous(),
        weights.t().contiguous(),
        members.flatten(),
        member_weights.flatten(),
        F.pad(first.int(), (0, 2), value=size * points),
        _neighbours(keys, strides, span),
    )


def _neighbours(keys: torch.Tensor, strides: list[int], span: int) -> torch.Tensor:
    """Both neighbours (d+1, M, 2) int32 of the M sorted `keys` along each direction, M where missing.

    Direction j takes 1 off every coordinate but the j-th, which gains d: remainder k becomes k − 1, and 0 becomes d.
    """
    count, d = len(keys), len(strides) - 1
    own = torch.arange(count, dtype=torch.int32, device=keys.device)
    down = keys + torch.where(keys < span, d * span - sum(strides), -span).to(keys.dtype)
    pairs = []
    for stride in strides:
        wanted = down + stride
        found = torch.searchsorted(keys, wanted).clamp_(max=count - 1)
        found = torch.where(keys.index_select(0, found) == wanted, found, count)
        back = own.new_full((count + 1,), count).scatter_(0, found, own)
        pairs.append(torch.stack([found.int(), back[:-1]], 1))
    return torch.stack(pairs)
