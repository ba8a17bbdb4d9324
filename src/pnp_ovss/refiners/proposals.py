"""Which points to ask a promptable segmenter about, and which of its proposals to believe. Pure.

One point at the peak of a class's map fails where it lies beside the thing, and the proposal is then a confident piece of
something else. So several points are asked about, and only what agrees with the class's coarse mask, both ways, is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

POINTS = 1
"""Candidate points of a class at most; each costs one pass of the mask decoder."""
AGREEMENT = 0.4
"""IoU with the class's coarse mask below which a mask is refused. Both chosen on training photos: docs/refiners.md."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """What became of a class. mask: (h, w) bool. agreement: its soft IoU in [0, 1]. prompts: the rows that it came from."""

    mask: Tensor
    agreement: float
    prompts: tuple[int, ...] = ()


def support(maps: Tensor) -> Tensor:
    """Where each class is strong and ahead: its min-max map times its share of the maps at equal mass; (K, h, w) float32."""
    flat = maps.flatten(1).float()
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    tiny = torch.finfo(flat.dtype).tiny
    mass = flat / flat.sum(1, keepdim=True).clamp(min=tiny)
    share = mass / mass.sum(0, keepdim=True).clamp(min=tiny)
    return ((flat - low) / (high - low).clamp(min=tiny) * share).view_as(maps)


def peaks(heat: Tensor, count: int = POINTS) -> list[tuple[float, float]]:
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


def choose(masks: Tensor, scores: Tensor) -> Chosen:
    """The union of proposals that agrees best with a class's scores, grown one by one as long as the agreement rises.

    So a class of several things gets a mask for each. masks: (prompts, n, h, w) bool. scores: (h, w) in [0, 1].
    """
    per_prompt, flat = masks.shape[1], masks.flatten(0, 1)
    union, best, taken = torch.zeros_like(flat[0]), 0.0, list[int]()
    while True:
        agreement = soft_iou(flat | union, scores)
        row = int(agreement.argmax())
        if float(agreement[row]) <= best:
            return Chosen(union, best, tuple(taken))
        union, best = flat[row] | union, float(agreement[row])
        taken.append(row // per_prompt)
