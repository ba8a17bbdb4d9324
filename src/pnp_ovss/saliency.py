"""GradCAM on cross-attention (Eq. 1) and Saliency DropOut (Eq. 2-3): pure tensor functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

CONSTANT = 1e-5
"""A map whose range is below this share of its largest value is constant: the rest is rounding of float32 sums."""


def token_saliency(probs: Tensor, grad: Tensor | None) -> Tensor:
    """Eq. 1 per token: mean over heads of A ⊗ max(0, G).

    probs, grad: (heads, T, N); `grad = None` leaves the plain attention. Returns (T, N), float32 (float64 for such probs).

    >>> token_saliency(torch.tensor([[[.5, .5]]]), torch.tensor([[[2., -1.]]]))
    tensor([[1., 0.]])
    """
    probs = probs.to(torch.promote_types(probs.dtype, torch.float32))
    weighted = probs if grad is None else probs * grad.to(probs.dtype).clamp(min=0)
    return weighted.mean(dim=0)


def class_maps(tokens: Tensor, spans: Sequence[Sequence[int]]) -> Tensor:
    """The mean over each class's tokens. tokens: (T, N). Returns (K, N)."""
    return torch.stack([tokens[list(span)].mean(dim=0) for span in spans])


def head_maps(probs: Tensor, grad: Tensor | None, spans: Sequence[Sequence[int]]) -> Tensor:
    """Class maps of each head and, last, of the mean over heads (Table 6). probs, grad: (heads, T, N).

    Returns (heads + 1, K, N).
    """
    chosen = [slice(head, head + 1) for head in range(len(probs))] + [slice(None)]
    return torch.stack([class_maps(token_saliency(probs[h], None if grad is None else grad[h]), spans) for h in chosen])


def scored_tokens(tokens: Tensor, spans: Sequence[Sequence[int]]) -> Tensor:
    """The authors' class-agnostic map: the sum over all class tokens and the closing [SEP]. Returns (N,)."""
    rows = sorted({i for span in spans for i in span} | {tokens.shape[0] - 1})
    return tokens[rows].sum(dim=0)


def drop_most_salient(saliency: Tensor, visible: Tensor, *, share: float = 0.5, count: int | None = None) -> Tensor:
    """Eq. 2-3 by rank: the visible patches without the most salient `share` (or `count`) of them.

    saliency: (N,) float, U of Eq. 2; visible: (N,) bool. Ties go by index, lower first, so that exactly
    ceil(share · visible) patches go even where U is mostly 0 (a literal "≥ median" would drop all of them).

    >>> drop_most_salient(torch.tensor([3., 1., 2., 0.]), torch.tensor([True, True, True, True]))
    tensor([False,  True, False,  True])
    """
    remaining = int(visible.sum())
    number = min(remaining, math.ceil(remaining * share) if count is None else count)
    ranked = saliency.masked_fill(~visible, -math.inf).argsort(descending=True, stable=True)
    result = visible.clone()
    result[ranked[:number]] = False
    return result


def minmax(maps: Tensor, scale: str = "per_class", *, keep_constant: bool = False) -> Tensor:
    """Maps moved to [0, 1]; a constant map becomes zeros, never NaN.

    maps: (K, ...) float. scale: `per_class` (each map its own range), `global` (one range), `none` (unchanged).
    keep_constant: a constant positive map becomes ones instead: a mask that covers the whole photo stays one.

    >>> minmax(torch.tensor([[0., 2.], [5., 5.]]))
    tensor([[0., 1.],
            [0., 0.]])
    """
    if scale == "none":
        return maps
    rows = maps.flatten(1) if scale == "per_class" else maps.reshape(1, -1)
    low, high = rows.amin(dim=1, keepdim=True), rows.amax(dim=1, keepdim=True)
    span = high - low
    flat = (low > 0).to(rows.dtype) if keep_constant else torch.zeros_like(low)
    real = span > CONSTANT * torch.maximum(low.abs(), high.abs())
    unit = torch.where(real, (rows - low) / span.clamp(min=torch.finfo(rows.dtype).tiny), flat)
    return unit.reshape(maps.shape)
