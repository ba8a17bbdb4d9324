"""Which points to ask a promptable segmenter about, and which of its proposals to believe. Pure.

One point at the peak of a class's map fails where it lies beside the thing, and the proposal is then a confident piece of
something else. So points of two kinds are asked about, and a proposal counts by how well it agrees with the class's coarse
mask, both ways, and by how sure of it the model is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pnp_ovss.masks.specks import SPECK_SHARE, remove_specks

POINTS = 4
"""Points of each of the two kinds at most."""
AGREEMENT = 0.3
"""IoU with the class's coarse mask below which a mask is refused; chosen on training photos: docs/refiners.md."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """What became of a class. mask: (H, W) bool at the photo's size. agreement: its soft IoU in [0, 1]."""

    mask: Tensor
    agreement: float


def support(maps: Tensor) -> Tensor:
    """Where each class is strong and ahead: its min-max map times its share of the maps at equal mass; (K, h, w) float32."""
    flat = maps.flatten(1).float()
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    tiny = torch.finfo(flat.dtype).tiny
    mass = flat / flat.sum(1, keepdim=True).clamp(min=tiny)
    share = mass / mass.sum(0, keepdim=True).clamp(min=tiny)
    return ((flat - low) / (high - low).clamp(min=tiny) * share).view_as(maps)


def peaks(heat: Tensor, count: int) -> list[tuple[float, float]]:
    """Up to `count` (x, y) in [0, 1] of local maxima over half the highest, the highest first; none where all is equal.

    heat: (h, w) ≥ 0.
    """
    top = F.max_pool2d(heat[None, None], 3, stride=1, padding=1)[0, 0]
    height, width = heat.shape
    values = torch.where((heat == top) & (heat > heat.max() / 2), heat, 0).flatten()
    if not bool(heat.max() > heat.min()):
        return []
    order = values.argsort(descending=True, stable=True)[:count].tolist()
    return [((i % width + 0.5) / width, (i // width + 0.5) / height) for i in order if values[i] > 0]


def soft_iou(masks: Tensor, scores: Tensor) -> Tensor:
    """(n,) agreement both ways of masks (n, h, w) bool with scores (h, w) in [0, 1]: Σ m·s / (Σ m + Σ s − Σ m·s)."""
    inside = (masks * scores).sum((1, 2))
    both = masks.sum((1, 2)) + scores.sum() - inside
    return inside / both.clamp(min=1e-12)


def middles(mask: Tensor, count: int) -> list[tuple[float, float]]:
    """Up to `count` (x, y) in [0, 1] far inside a mask (h, w) bool, the innermost first, at half its depth or more.

    Depth is the distance to the rim, or the photo's, in a chess king's steps; around a point of depth r none lies within 2 r.
    """
    depth, left = torch.zeros(mask.shape), mask.float()
    while bool(left.any()):
        depth += left
        left = 1 - F.max_pool2d(F.pad(1 - left, (1, 1, 1, 1), value=1.0)[None], 3, stride=1)[0]
    (height, width), least, points = mask.shape, max(1.0, float(depth.max()) / 2), list[tuple[float, float]]()
    while len(points) < count and float(depth.max()) >= least:
        y, x = divmod(int(depth.argmax()), width)
        around = 2 * int(depth[y, x])
        depth[max(0, y - around) : y + around + 1, max(0, x - around) : x + around + 1] = 0
        points.append(((x + 0.5) / width, (y + 0.5) / height))
    return points


def choose(masks: Tensor, predicted: Tensor, scores: Tensor) -> tuple[list[int], float]:
    """The proposal with the highest product of predicted IoU and agreement, and others while the agreement of the union rises.

    So a class of several things gets a mask for each. masks: (n, h, w) bool. predicted: (n,). scores: (h, w) in [0, 1].
    Returns their rows, and how well their union agrees; none where nothing agrees at all.
    """
    row = int((soft_iou(masks, scores) * predicted.clamp(0, 1)).argmax())
    rows, union, best = list[int](), torch.zeros_like(masks[0]), 0.0
    while True:
        agreement = float(soft_iou((masks[row] | union)[None], scores))
        if agreement <= best:
            return rows, best
        rows, union, best = [*rows, row], masks[row] | union, agreement
        row = int(soft_iou(masks | union, scores).argmax())


def drawn(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """(H, W) bool, the union of proposals (n ≥ 1, h, w) at the photo's size.

    Their logits are enlarged, so that outlines run between cells. Before, what is smaller than a speck (`masks.specks`) takes
    the sign of what is around it: where a segmenter is unsure its logits are a pattern of dots.
    """
    joined = logits.amax(0)
    inside = (joined > 0).cpu().numpy().astype(np.uint8)
    kept = torch.from_numpy(remove_specks(inside, math.ceil(inside.size * SPECK_SHARE)) == inside)
    smooth = torch.where(kept.to(joined.device), joined, -joined)
    return F.interpolate(smooth[None, None], size, mode="bilinear")[0, 0] > 0
