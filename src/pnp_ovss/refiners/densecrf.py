"""The fully connected CRF with Gaussian edges: mean field on permutohedral lattices, in plain torch.

Source: Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", NIPS 2011;
its default parameters are CutLER's (Wang et al., CVPR 2023), as the paper uses them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch

from pnp_ovss.errors import ConfigError, RefinerError
from pnp_ovss.refiners import Evidence
from pnp_ovss.refiners.inputs import check_inputs
from pnp_ovss.refiners.permutohedral import Lattice, build_lattice

SMALLEST_PROBABILITY = 1e-5  # of "probabilities", the usual clip of pydensecrf's unary_from_softmax
NEGLIGIBLE_Q = 1e-21  # flushed to 0: products with it would be denormal numbers, several times slower on CPUs
CHANNELS_AT_ONCE = 24  # bounds the memory of a filter
FEW_CHANNELS = 16  # below, a softmax over adjacent numbers is slow
LARGEST_EXPONENT = 80.0  # exp and the sum of a few stay finite in float32


@dataclass(frozen=True)
class DenseCRF:
    """Dense CRF with a Gaussian (position) and a bilateral (position and colour) Potts term.

    iterations: mean-field updates. gaussian_sxy, bilateral_sxy: standard deviations in pixels; bilateral_srgb: in grey
    levels of 0..255. gaussian_compat, bilateral_compat: weights, 0 switches a term off.
    unary: "softmax" is −log softmax over channels of scores / temperature; "probabilities" is −log of the scores
    normalised to sum 1 over channels, clipped from below at 1e-5, temperature ignored.
    absent_classes: m further classes whose scores are 0 everywhere compete, as one merged channel, exactly; their Q, at
    no pixel above that of a given class, is not returned.
    """

    iterations: int = 10
    gaussian_sxy: float = 3.0
    gaussian_compat: float = 7.0
    bilateral_sxy: float = 50.0
    bilateral_srgb: float = 5.0
    bilateral_compat: float = 10.0
    unary: Literal["softmax", "probabilities"] = "softmax"
    temperature: float = 1.0
    absent_classes: int = 0
    name = "densecrf"

    def __post_init__(self) -> None:
        """Raise ConfigError for values no dense CRF can work with."""
        if self.unary not in ("softmax", "probabilities"):
            raise ConfigError(f"unary={self.unary!r} is unknown: use 'softmax' or 'probabilities'")
        for option in ("gaussian_sxy", "bilateral_sxy", "bilateral_srgb", "temperature"):
            if not 0 < getattr(self, option) < math.inf:
                raise ConfigError(f"{option}={getattr(self, option)} is not possible: use a number above 0")
        for option in ("iterations", "absent_classes", "gaussian_compat", "bilateral_compat"):
            if not 0 <= getattr(self, option) < math.inf:
                raise ConfigError(f"{option}={getattr(self, option)} is not possible: use 0 or more")

    def refine(self, image: np.ndarray, scores: torch.Tensor, evidence: Evidence | None = None) -> torch.Tensor:
        """Mean-field probabilities Q (C, H, W) float32 after `iterations` updates.

        image: (H, W, 3) uint8 RGB. scores: (C, H, W), non-negative. Q sums to 1 over the channels and absent classes.
        Raises RefinerError for inputs that do not fit.
        """
        checked = check_inputs(image, scores, evidence)
        kernels = self._kernels(image, scores.device) if len(scores) + self.absent_classes > 1 else []
        q = mean_field(log_prior(checked, self).flatten(1), kernels, self.iterations, max(self.absent_classes, 1))
        return q[: len(scores)].view(scores.shape)

    def _kernels(self, image: np.ndarray, device: torch.device) -> list[Lattice]:
        height, width = image.shape[:2]
        kernels = []
        if self.gaussian_compat:
            kernels.append(_gaussian_kernel(height, width, self.gaussian_sxy, self.gaussian_compat, device))
        if self.bilateral_compat:
            features = colour_features(image, self.bilateral_sxy, self.bilateral_srgb, device)
            kernels.append(pairwise_kernel(features, self.bilateral_compat))
        return kernels


def log_prior(scores: torch.Tensor, crf: DenseCRF) -> torch.Tensor:
    """Negative unary energies of `scores` (C, H, W); with absent classes C + 1 channels, their merged one last.

    Raises RefinerError for negative scores where they are to be probabilities.
    """
    absent = crf.absent_classes
    if absent:
        scores = torch.cat([scores, scores.new_zeros(1, *scores.shape[1:])])
    if crf.unary == "softmax":
        logits = scores / crf.temperature
    else:
        if scores.min() < 0:
            raise RefinerError("unary='probabilities' needs scores of 0 or more, found negative ones: use 'softmax'")
        total = scores.sum(0, keepdim=True)
        logits = torch.where(total > 0, scores / total, 1.0).clamp_(min=SMALLEST_PROBABILITY).log_()
    if absent:
        logits[-1] += math.log(absent)
    return torch.log_softmax(logits, 0)


def mean_field(prior: torch.Tensor, kernels: Sequence[Lattice], iterations: int, copies: int = 1) -> torch.Tensor:
    """Probabilities Q (C, N) after `iterations` updates Q = softmax(prior + Σ messages) from Q = softmax(prior).

    prior: (C, N) float32, negative unary energies. The last channel stands for `copies` classes of equal prior p: it
    holds p + log copies, receives 1 / copies of its message, and its Q is that of all of them together. Every channel
    goes through the same arithmetic: equal scores are an unstable fixed point, which rounding would otherwise leave.
    """
    if not kernels or not iterations:
        return torch.softmax(prior, 0)
    rows = prior.t().contiguous()  # as the lattices read and write them
    del prior  # where the caller keeps none, its memory is free
    q = softmax_rows(rows.clone())
    for _ in range(iterations):
        torch.threshold_(q, NEGLIGIBLE_Q, 0.0)
        logits = send_messages(q, kernels)
        logits[:, -1] /= copies
        q = softmax_rows(logits.add_(rows))
    return q.t().contiguous()


def send_messages(q: torch.Tensor, kernels: Sequence[Lattice]) -> torch.Tensor:
    """Sum of the filtered `q` (N, C), a few channels at a time."""
    if q.shape[1] > CHANNELS_AT_ONCE:
        return torch.cat([send_messages(part.contiguous(), kernels) for part in q.split(CHANNELS_AT_ONCE, 1)], 1)
    messages = kernels[0].filter(q)
    for kernel in kernels[1:]:
        messages += kernel.filter(q)
    return messages


def softmax_rows(logits: torch.Tensor) -> torch.Tensor:
    """Softmax over the channels of (N, C), in place where that is faster: torch's own takes ten times as long for few."""
    if logits.shape[1] >= FEW_CHANNELS or float(logits.max()) > LARGEST_EXPONENT:
        return torch.softmax(logits, 1)
    shares = logits.exp_()  # Σ exp(prior) = 1 and messages are positive: no row is 0
    return shares.mul_((shares @ shares.new_ones(shares.shape[1], 1)).reciprocal_())


def pairwise_kernel(features: torch.Tensor, weight: float) -> Lattice:
    """weight · D^-1/2 K D^-1/2 for the Gaussian kernel K of `features` (d, N), D its row sums (plus 1e-20)."""
    lattice = build_lattice(features)
    ones = features.new_ones(features.shape[1], 1)
    norm = (lattice.filter(ones)[:, 0] + 1e-20).rsqrt_()
    return lattice.scaled(before=norm, after=weight * norm)


@lru_cache(maxsize=4)
def _gaussian_kernel(height: int, width: int, sxy: float, weight: float, device: torch.device) -> Lattice:
    return pairwise_kernel(position_features(height, width, sxy, device), weight)


def position_features(height: int, width: int, sxy: float, device: torch.device) -> torch.Tensor:
    """x and y of every pixel, row by row, in units of `sxy`: (2, H·W) float32."""
    y = torch.arange(height, dtype=torch.float32, device=device) / sxy
    x = torch.arange(width, dtype=torch.float32, device=device) / sxy
    return torch.stack([x.repeat(height), y.repeat_interleave(width)])


def colour_features(image: np.ndarray, sxy: float, srgb: float, device: torch.device) -> torch.Tensor:
    """x, y and the colour of every pixel of `image` (H, W, 3) in units of `sxy` and `srgb`: (5, H·W) float32."""
    colour = torch.from_numpy(image.reshape(-1, 3).T.astype(np.float32)).to(device) / srgb
    return torch.cat([position_features(*image.shape[:2], sxy, device), colour])
