"""Pixel-adaptive mask refinement (PAMR): a few rounds of averaging over neighbours of like colour, in plain torch.

Source: Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020, section 3.3, with their
published settings: 10 rounds, the 8 neighbours at distances 1, 2, 4, 8, 12 and 24.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from pnp_ovss.errors import ConfigError
from pnp_ovss.refiners import Evidence
from pnp_ovss.refiners.inputs import check_inputs

SMALLEST_DEVIATION = 1e-8  # keeps 0 / 0 out of constant neighbourhoods; the authors' value


@dataclass(frozen=True)
class PAMR:
    """PAMR: every round replaces a pixel's scores by a mean of its neighbours', weighted by likeness of colour.

    The weights are the softmax over all neighbours j of −mean over RGB of |I_i − I_j| / (bandwidth · σ_i), σ_i the
    standard deviation of the channel over the 3 x 3 windows at all `dilations_px` around i. The paper prints σ_i² in
    place of bandwidth · σ_i; the authors' experiments used 0.1 · σ_i, the default. Outside, the border pixel repeats.
    """

    iterations: int = 10
    dilations_px: tuple[int, ...] = (1, 2, 4, 8, 12, 24)
    bandwidth: float = 0.1
    name = "pamr"

    def __post_init__(self) -> None:
        if not 0 <= self.iterations < math.inf:
            raise ConfigError(f"iterations={self.iterations} is not possible: use 0 or more")
        if not self.dilations_px or min(self.dilations_px) < 1:
            raise ConfigError(
                f"dilations_px={self.dilations_px} is not possible: use one or more distances of 1 or more"
            )
        if not 0 < self.bandwidth < math.inf:
            raise ConfigError(f"bandwidth={self.bandwidth} is not possible: use a number above 0")

    def refine(self, image: np.ndarray, scores: torch.Tensor, evidence: Evidence | None = None) -> torch.Tensor:
        """Averaged scores (C, H, W) float32, within the range of each channel's `scores`.

        image: (H, W, 3) uint8 RGB. scores: (C, H, W), non-negative. Raises RefinerError for inputs that do not fit.
        """
        scores = check_inputs(image, scores, evidence).clone()
        pixels = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32) / 255).to(scores.device)
        shares = affinity(pixels, self.dilations_px, self.bandwidth) if self.iterations else []
        for _ in range(self.iterations):
            mean = torch.zeros_like(scores)
            for share, neighbour in zip(shares, neighbours(scores, self.dilations_px), strict=True):
                mean.addcmul_(share, neighbour)
            scores = mean
        return scores


def affinity(pixels: torch.Tensor, dilations_px: tuple[int, ...], bandwidth: float) -> torch.Tensor:
    """Weights (8 · len(dilations_px), H, W) of the neighbours, summing to 1; `pixels` (3, H, W) float32 in [0, 1]."""
    offset_sum, square_sum = torch.zeros_like(pixels), torch.zeros_like(pixels)
    for neighbour in neighbours(pixels, dilations_px):
        difference = neighbour - pixels
        offset_sum += difference
        square_sum.addcmul_(difference, difference)
    count = 9 * len(dilations_px)  # the centre counts once for each window
    variance = (square_sum - offset_sum**2 / count) / (count - 1)
    scale = 1 / (SMALLEST_DEVIATION + bandwidth * variance.clamp_(min=0).sqrt_())
    kernel = pixels.new_empty(8 * len(dilations_px), *pixels.shape[1:])
    for out, neighbour in zip(kernel, neighbours(pixels, dilations_px), strict=True):
        torch.mean((neighbour - pixels).abs_().mul_(scale), 0, out=out)
    return torch.softmax(kernel.neg_(), 0)


def neighbours(planes: torch.Tensor, dilations_px: tuple[int, ...]) -> Iterator[torch.Tensor]:
    """Views (C, H, W): `planes` (C, H, W) seen from the 8 neighbours at each distance, top to bottom, left to right."""
    height, width = planes.shape[1:]
    reach = max(dilations_px)
    padded = F.pad(planes[None], (reach,) * 4, mode="replicate")[0]
    for step in dilations_px:
        for top in (reach - step, reach, reach + step):
            for left in (reach - step, reach, reach + step):
                if (top, left) != (reach, reach):
                    yield padded[:, top : top + height, left : left + width]
