"""Who wins a pixel, where it is not the paper's overlay: foreground first, class second, with maps of equal mass.

Overlay (§3.3) cuts each class's map to 0 or 1 and compares the blurred masks with one minus their sum, so a narrow class
inside a broad one has no pixel however strong it is there. Here one question decides what is background, the largest map
after its own min-max, and another one which class: the share of its own mass that a class has at a place, by which a
narrow class beats a broad one where both are strong. Not of the paper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pnp_ovss.config import SegmenterConfig
from pnp_ovss.postprocess import apply_threshold, enlarge, overlay, resize_and_blur

LEAD = 1e-3
"""By how much, as a share, a class leads that would else lead nowhere."""

LEAST = 0.1
"""What a class that is certain to be there counts at least, however badly it matches."""

Scored = tuple[Tensor, tuple[int | None, ...]]
"""Scores (C, H, W) ≥ 0, and the row of each channel among the maps, None for background."""


def compete(
    total: Tensor,
    size: tuple[int, int],
    config: SegmenterConfig,
    presence: Sequence[float] | None = None,
    shares: Tensor | None = None,
    *,
    certain: bool = False,
) -> Scored:
    """Scores by the configured competition; presence and shares, if any, are those of `equal_mass`.

    certain: the classes are there, so that `presence` weighs them before it is seen to that each leads somewhere.
    """
    if config.competition == "overlay":
        return overlay(total, size, config)
    if certain and presence is not None:
        shares, presence = masses(total) * total.new_tensor(presence)[:, None, None], None
    return equal_mass(total, size, config, presence, shares=shares)


def without_look_alikes(seen: Tensor, match_scores: Sequence[float | None], most: float) -> list[int]:
    """The rows of the maps (K, P_h, P_w) that stay: all but those whose map is nearly that of a surer one that stays.

    seen: maps before completion, which lends a part the map of the whole. match_scores: (K,) how sure it is that each class is
    there, equally sure ones in their order; with a None among them all stay. most: the correlation of two maps over the
    patches, in [0, 1], above which the less sure one goes.
    """
    sure = [score for score in match_scores if score is not None]
    if len(sure) < len(match_scores):
        return list(range(len(seen)))
    alike, stay = correlations(seen) > most, list[int]()
    for row in sorted(range(len(sure)), key=lambda row: -sure[row]):
        if not alike[row, stay].any():
            stay.append(row)
    return sorted(stay)


def correlations(maps: Tensor) -> Tensor:
    """(K, K) Pearson's correlation of the maps (K, P_h, P_w) over their patches; 0 with a map that is flat."""
    apart = maps.flatten(1).double()
    apart = apart - apart.mean(dim=1, keepdim=True)
    unit = apart / apart.norm(dim=1, keepdim=True).clamp(min=torch.finfo(apart.dtype).tiny)
    return unit @ unit.T


def equal_mass(
    total: Tensor,
    size: tuple[int, int],
    config: SegmenterConfig,
    presence: Sequence[float] | None = None,
    *,
    shares: Tensor | None = None,
) -> Scored:
    """Scores of background and classes (steps 10 to 12).

    total: (K, P_h, P_w) ≥ 0, the summed maps S. size: (H, W) px. presence: (K,) weights ≥ 0 of the classes, how sure it
    is that each is there; None: equal ones. fg: min-max maps over T, their maximum, enlarged and blurred as overlay's
    masks. w_k: S_k / Σ S_k, or `shares` (K, P_h, P_w), enlarged with a small blur, raised where it would lead nowhere
    (`let_all_lead`), times p_k.
    Background 1 − fg, class fg · w_k / max_j w_j; without background w_k / max_j w_j. A map of zeros has no channel.
    """
    rows = tuple(row for row in range(len(total)) if bool(total[row].any()))
    wants_background = config.background != "none"
    foreground = apply_threshold(total[list(rows)], config).amax(dim=0, keepdim=True) if rows else torch.zeros(1, 1, 1)
    if not bool(foreground.any()) and (wants_background or not len(total)):
        return torch.ones(1, *size), (None,)
    if not rows:  # every pixel needs a class and no map says which
        return torch.zeros(len(total), *size), tuple(range(len(total)))
    inside = enlarge(foreground, size, config) if wants_background else torch.ones(1, *size)
    among = (masses(total) if shares is None else shares)[list(rows)]
    led = resize_and_blur(among, size, config.resize, config.share_blur)
    patch_px = max(1, round(size[0] * size[1] / total[0].numel()))  # pixels of the photo that a patch covers
    led = let_all_lead(led, inside[0] > 1 / 2, patch_px)
    if presence is not None:
        led *= led.new_tensor([presence[row] for row in rows])[:, None, None]
    leading = led / led.amax(dim=0).clamp(min=torch.finfo(led.dtype).tiny)
    if not wants_background:
        return leading, rows
    outside = 1 - inside if isinstance(config.background, str) else torch.full_like(inside, config.background)
    return torch.cat([outside, inside * leading]), (None, *rows)


def masses(total: Tensor) -> Tensor:
    """The maps (K, P_h, P_w) with a sum of 1 each; a map of zeros stays one."""
    return total / total.sum(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(total.dtype).tiny)


def let_all_lead(masses: Tensor, inside: Tensor, pixels: int) -> Tensor:
    """`masses` (K, H, W) in which every class is the highest somewhere of `inside` (H, W) bool.

    Among many classes one can be strong and nowhere the strongest. Such a class leads by a hair where it comes nearest
    to it and has mass at all, at `pixels` pixels, or half of what another has where that is less: of classes that keep some,
    and none that a third was given so. The rest stays bit for bit. The argument is not written to.
    """
    free = inside.flatten().clone()
    flat = masses.flatten(1)
    leader = flat.max(dim=0).indices
    for row in (_led(leader, free, len(flat)) == 0).nonzero().flatten().tolist():
        flat = flat.clone() if flat.data_ptr() == masses.data_ptr() else flat
        highest, led = flat.amax(dim=0), _led(leader, free, len(flat))
        most = min(pixels, int(led.max()) // 2)
        spare = free & (led > most)[leader]
        nearness = torch.where(spare, flat[row] / highest.clamp(min=torch.finfo(flat.dtype).tiny), 0)
        best = nearness.topk(most)
        chosen = best.indices[best.values > 0]
        flat[row, chosen] = highest[chosen] * (1 + LEAD)
        free[chosen] = False
    return flat.view_as(masses)


def _led(leader: Tensor, among: Tensor, classes: int) -> Tensor:
    """(K,) at how many pixels each class leads. leader: (N,) the class of each; among: (N,) bool, those that count."""
    return leader[among].bincount(minlength=classes)


def given_weights(matches: Sequence[float], threshold: float) -> list[float]:
    """How much classes count in the competition that are certain to be there, by how well each matches the photo all the same.

    The fourth root of `presence_weights`, from LEAST to 1. matches, threshold: in [0, 1].

    >>> [round(w, 2) for w in given_weights([0.85, 0.98, 0.2, 0.0], 0.85)]
    [0.84, 0.97, 0.45, 0.1]
    """
    return [max(LEAST, weight ** (1 / 4)) for weight in presence_weights(matches, threshold)]


def presence_weights(scores: Sequence[float], threshold: float) -> list[float]:
    """How much each class counts in the competition: 1/2 at the threshold, its odds against the threshold's.

    scores, threshold: in [0, 1]. A threshold of 0 gives every class weight 1.

    >>> [round(w, 2) for w in presence_weights([0.85, 0.98, 0.2], 0.85)]
    [0.5, 0.9, 0.04]
    """
    return [sigmoid(logit(score) - logit(threshold)) if threshold else 1.0 for score in scores]


def logit(p: float) -> float:
    """log p / (1 − p); ∓ infinity at 0 and 1."""
    return math.log(p / (1 - p)) if 0 < p < 1 else math.copysign(math.inf, p - 0.5)


def sigmoid(x: float) -> float:
    """1 / (1 + exp(−x)), also of infinities."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
