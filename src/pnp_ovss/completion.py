"""Completion (step 9b): a map that marks the most telling part of an object spreads over what looks alike.

Not of the paper. The idea is Saliency DropOut's, to complete what is too narrow, taken from the image's features instead
of from further passes; relatives: CLIP-ES, DiffSegmenter and LPOSS walk over self-attention or feature similarity.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

ROWS_AT_ONCE = 4096
"""Rows of the affinity that are held at once: at 4,096 patches 64 MiB, however large the photo."""


def complete(maps: Tensor, tokens: Tensor, power: float) -> Tensor:
    """A · S: each patch's saliency becomes the mean of those of all patches, weighted by their likeness.

    maps: (K, P_h, P_w) ≥ 0, S. tokens: (P_h·P_w, D), the image tokens that the text looked at. power: p of
    A_ij = max(0, cos(f_i, f_j))^p, whose rows are divided by their sums. Returns (K, P_h, P_w) ≥ 0, float32 (float64 for
    such maps), each value within its map's range.

    >>> complete(torch.tensor([[[1.0, 0.0, 0.0]]]), torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), 16)
    tensor([[[0.5000, 0.5000, 0.0000]]])
    """
    kind = torch.promote_types(maps.dtype, torch.float32)
    flat, unit = maps.flatten(1).to(kind), F.normalize(tokens.to(kind), dim=1)
    rows = [_spread(flat, unit, part, power) for part in unit.split(ROWS_AT_ONCE)]
    return torch.cat(rows, dim=1).reshape(maps.shape)


def _spread(flat: Tensor, unit: Tensor, part: Tensor, power: float) -> Tensor:
    """The completed saliency of some patches: (K, rows). A token of zeros is like none, itself included: it keeps 0."""
    affinity = (part @ unit.T).clamp_(min=0).pow_(power)
    return flat @ affinity.T / affinity.sum(dim=1).clamp(min=torch.finfo(flat.dtype).tiny)
