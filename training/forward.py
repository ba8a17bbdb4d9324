"""The text side with several texts an image, packed into one row: keys and values are computed once an image.

The same numbers as `PocketModel.match` (a test compares them); the model's own forward repeats the image for every text.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pnp_ovss.vlms.encoders.pocket_model import PocketModel

SCALE = 4.0
"""Evidence = SCALE x word-patch score: scores stay small, so that the softmax over patches stays flat on an object."""


@dataclass
class TextStates:
    """What the losses and the maps read."""

    match: Tensor
    """Matching logits (B, K, 2)."""
    hidden: Tensor
    """Last hidden states (B, L, width)."""
    scores: Tensor
    """Word-patch scores of the first layer before the softmax (B, heads, L, N)."""
    probs: Tensor
    """Its attention, part of the graph."""


def _heads(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(-2, -3)


def _self_attention(layer: torch.nn.Module, x: Tensor, bias: Tensor) -> Tensor:
    own = layer.attention.self
    q, k, v = (_heads(f(x), own.num_attention_heads) for f in (own.query, own.key, own.value))
    probs = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + bias.to(q.dtype)).softmax(-1, dtype=q.dtype)
    return layer.attention.output((probs @ v).transpose(-2, -3).flatten(-2), x)


def _cross_scores(layer: torch.nn.Module, x: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    own = layer.crossattention.self
    q, k, v = (
        _heads(f(t), own.num_attention_heads) for f, t in ((own.query, x), (own.key, tokens), (own.value, tokens))
    )
    return (q / math.sqrt(q.shape[-1])) @ k.transpose(-1, -2), v


def read_texts(model: PocketModel, tokens: Tensor, packed: tuple[Tensor, ...]) -> TextStates:
    """Run packed texts (ids, positions, text, starts; see `Batch`) against image `tokens` (B, N, width)."""
    ids, positions, text, starts = packed
    x = model.text_encoder.embeddings(input_ids=ids, position_ids=positions)
    apart = text[:, None, :, None] != text[:, None, None, :]
    bias = torch.zeros(apart.shape).masked_fill(apart, -1e4)
    first = None
    for layer in model.text_encoder.encoder.layer:
        x = _self_attention(layer, x, bias)
        scores, values = _cross_scores(layer, x, tokens)
        probs = scores.softmax(-1, dtype=scores.dtype)
        first = first or (scores, probs)
        x = layer.crossattention.output((probs @ values).transpose(1, 2).flatten(-2), x)
        x = layer.feed_forward_chunk(x)
    states = torch.take_along_dim(x, starts[..., None], 1)
    return TextStates(model.itm_head(states), x, *first)


def first_layer_cams(states: TextStates, spans: Tensor) -> Tensor:
    """GradCAM (Eq. 1), mean over heads and over each name's tokens, itself part of the graph; `spans` (B, M, L) → (B, M, N)."""
    grad = torch.autograd.grad(states.match[..., 1].sum(), states.probs, create_graph=True)[0]
    return spans @ (states.probs.float() * grad.float().clamp(min=0)).mean(1)
