"""From the passes' maps to label scores (§3.2 end, §3.3): sum, threshold, resize, blur, background. Pure.

Resizing and blurring are both linear and separable, so the two are one matrix per axis, (H, P_h) and (W, P_w),
applied to the small map: exact, and hundreds of times cheaper than filtering a (K, H, W) stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pnp_ovss.config import SegmenterConfig
from pnp_ovss.masks.labels import resize_nearest
from pnp_ovss.saliency import minmax


def accumulate(passes: Tensor, config: SegmenterConfig) -> Tensor:
    """The sum over passes M̂ (end of §3.2). passes: (R + 1, K, P_h, P_w), ≥ 0. Returns (K, P_h, P_w).

    `per_pass_minmax`: each pass's maps in [0, 1] first, sum in [0, R + 1]. `raw`: the plain sum (see `comparable`).
    """
    weights = torch.ones(len(passes), 1, 1, 1, dtype=passes.dtype, device=passes.device)
    weights[0] = config.first_pass_weight
    if config.accumulate == "raw":
        return (weights * passes).sum(dim=0)
    scaled = torch.stack([minmax(maps, config.normalise) for maps in passes])
    return (weights * scaled).sum(dim=0)


def comparable(total: Tensor, config: SegmenterConfig) -> Tensor:
    """The summed maps (K, P_h, P_w) as the competition takes them: `overlay` a raw sum's min-max, `equal_mass` the sum."""
    raw = config.accumulate == "raw" and config.competition == "overlay"
    return minmax(total, config.normalise) if raw else total


def on_threshold_scale(maps: Tensor, config: SegmenterConfig) -> Tensor:
    """Summed maps (K, P_h, P_w) as T is compared with them: for `equal_mass` their min-max, else as they are."""
    return minmax(maps, config.normalise) if config.competition == "equal_mass" else maps


def overlay(total: Tensor, size: tuple[int, int], config: SegmenterConfig) -> tuple[Tensor, tuple[int | None, ...]]:
    """Scores (C, H, W) ≥ 0 from summed maps (K, P_h, P_w), and the row of each channel, None for background (steps 10-12).

    The paper's competition: each class's mask, enlarged and blurred, against the others and the background.

    A class whose mask is empty has no channel. Where every pixel needs a class and no mask has any, the maps are used
    without the threshold.
    """
    background = config.background != "none"
    masks = apply_threshold(total, config) if len(total) else total
    live = [row for row in range(len(masks)) if bool(masks[row].any())]
    if not live and (background or not len(total)):
        return torch.ones(1, *size), (None,)
    if not live:
        live, masks = list(range(len(total))), total
    scores = enlarge(masks[live], size, config)
    if not background:
        return scores, tuple(live)
    return add_background(scores, masks[live], config), (None, *live)


def apply_threshold(maps: Tensor, config: SegmenterConfig) -> Tensor:
    """§3.3: 1 where the map exceeds T (`binary`), or the min-max map there (`soft`), else 0. maps: (K, P_h, P_w)."""
    maps = on_threshold_scale(maps, config)
    if config.thresholding == "binary":
        return (maps > config.threshold).to(maps.dtype)
    unit = minmax(maps, config.normalise)
    return unit * (unit > config.threshold)


def enlarge(maps: Tensor, size: tuple[int, int], config: SegmenterConfig) -> Tensor:
    """Resize to the photo, blur and min-max (§3.3, Table 2). maps: (K, P_h, P_w); size: (H, W) px.

    The Gaussian's standard deviation is `blur` · max(H, W) px, its border reflected, cut off at 4 deviations.
    Returns (K, H, W) in [0, 1]; with `normalise = "none"` only ≥ 0.
    """
    return minmax(resize_and_blur(maps, size, config.resize, config.blur), config.normalise, keep_constant=True)


def resize_and_blur(maps: Tensor, size: tuple[int, int], mode: str, blur: float) -> Tensor:
    """Maps (K, P_h, P_w) at (H, W) px and blurred, ≥ 0. mode: a value of `resize`; blur: a share of the longer side."""
    height, width = size
    sigma_px = blur * max(height, width)
    rows = _resize_matrix(maps.shape[1], height, mode, sigma_px).to(maps)
    columns = _resize_matrix(maps.shape[2], width, mode, sigma_px).to(maps)
    return (rows @ maps @ columns.T).clamp_(min=0)


@lru_cache(maxsize=32)
def _resize_matrix(n_in: int, n_out: int, mode: str, sigma_px: float) -> Tensor:
    """(n_out, n_in) float64: what interpolation along one axis, then a Gaussian, does to each input cell."""
    align = mode == "bilinear-align-corners"
    kind = "bicubic" if mode == "bicubic" else "bilinear"
    eye = torch.eye(n_in, dtype=torch.float64)[None, None]
    size = (n_out, n_in)
    matrix = F.interpolate(eye, size=size, mode=kind, align_corners=align)[0, 0].numpy()
    if sigma_px > 0:
        matrix = _blur_columns(matrix, sigma_px)
    return torch.from_numpy(np.ascontiguousarray(matrix))


def _blur_columns(values: np.ndarray, sigma_px: float) -> np.ndarray:
    """(N, M) each column filtered with a Gaussian, cut off at 4 deviations, the border reflected (d c b a | a b c d)."""
    radius = int(4 * sigma_px + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma_px) ** 2)
    padded = np.pad(values, ((radius, radius), (0, 0)), mode="symmetric")
    return np.stack([np.convolve(column, weights / weights.sum(), "valid") for column in padded.T], axis=1)


def add_background(scores: Tensor, maps: Tensor, config: SegmenterConfig) -> Tensor:
    """The background channel first. Returns (1 + K, H, W).

    scores: (K, H, W) after resize and blur; maps: (K, P_h, P_w) before them.
    `complement`: max(0, 1 − Σ_k scores). `zero_max` (later code): 1 where every class is 0 after the resize and
    before the blur, then blurred and min-max. A number: that constant.
    """
    if config.background == "complement":
        channel = (1 - scores.sum(dim=0)).clamp(min=0)
    elif config.background == "zero_max":
        channel = _zero_max(maps, (scores.shape[1], scores.shape[2]), config)
    else:
        channel = torch.full_like(scores[0], float(config.background))
    return torch.cat([channel[None], scores])


def _zero_max(maps: Tensor, size: tuple[int, int], config: SegmenterConfig) -> Tensor:
    resized = resize_and_blur(maps, size, config.resize, 0.0)
    empty = (resized.amax(dim=0) <= 0).float().cpu().numpy()
    sigma_px = config.blur * max(size)
    blurred = _blur_columns(_blur_columns(empty, sigma_px).T, sigma_px).T if sigma_px else empty
    return minmax(torch.from_numpy(np.ascontiguousarray(blurred))[None].to(maps), keep_constant=True)[0]


def merge_synonyms(maps: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """The maximum over each class's synonyms. maps: (K', ...); groups: for each class its rows. Returns (K, ...)."""
    return torch.stack([maps[list(rows)].amax(dim=0) for rows in groups])


def kept_scores(scores: Tensor) -> np.ndarray:
    """Scores (C, H, W) ≥ 0 as a result keeps them once its labels are decided: float16, what is above its range its largest."""
    return scores.clamp(max=torch.finfo(torch.float16).max).half().cpu().numpy()


def argmax_labels(
    scores: Tensor, channels: Sequence[int], size: tuple[int, int], sure: Sequence[float | None] | None = None
) -> np.ndarray:
    """(H, W) uint16: the label of the highest channel at each pixel (step 14).

    sure: (C,) how sure it is that each channel's class is there, None for background; at ties the surest has the pixel, what
    has None before all; without it the first channel.
    """
    if sure is not None:
        order = sorted(range(len(channels)), key=lambda row: (sure[row] is not None, -(sure[row] or 0.0)))
        if order != list(range(len(channels))):
            scores, channels = scores[order], [channels[row] for row in order]
    table = np.asarray(channels, dtype=np.uint16)
    labels = table[scores.max(dim=0).indices.cpu().numpy()]  # several times as fast as argmax over a first dimension
    return resize_nearest(labels, size)
