"""The pocket model's text encoder: BERT layers with cross-attention, in plain torch.

Parts and parameters are called as in transformers' `BlipTextModel`, to which it is equal (a test compares them), so that the
streams of the BLIP family run on it; importing transformers' own takes longer than segmenting a dozen photos.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NORM_EPS = 1e-12


@dataclass(frozen=True, kw_only=True)
class PocketConfig:
    """The sizes of a pocket model, stored as JSON in the metadata of its safetensors file."""

    vocabulary: int
    width: int = 256
    layers: int = 4
    heads: int = 8
    feed_forward: int = 1024
    grid_patches: int = 16
    """Side of the position table; other grids interpolate it."""
    places: ClassVar[int] = 512
    """Tokens of a text at most."""


class Attention(nn.Module):
    """Query, key and value of one multi-head attention; forward gives (context (B, T, D), probabilities (B, heads, T, N))."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_attention_heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, hidden: Tensor, tokens: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """hidden: (B, T, D) asks; tokens: (B, N, D) are looked at; mask: (B, N) bool of real ones."""
        parts = ((self.query, hidden), (self.key, tokens), (self.value, tokens))
        query, key, value = (f(x).unflatten(-1, (self.num_attention_heads, -1)).transpose(1, 2) for f, x in parts)
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None], -torch.inf)
        probs = scores.softmax(dim=-1)
        return (probs @ value).transpose(1, 2).flatten(2), probs


class Output(nn.Module):
    """Projection, residual, layer norm."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, width)
        self.LayerNorm = nn.LayerNorm(width, eps=NORM_EPS)

    def forward(self, hidden: Tensor, residual: Tensor) -> Tensor:
        """(B, T, inputs) and (B, T, D) to (B, T, D)."""
        return self.LayerNorm(self.dense(hidden) + residual)


class AttentionBlock(nn.Module):
    """Attention and its output."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self = Attention(width, heads)
        self.output = Output(width, width)

    def forward(self, hidden: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, T, D) after looking at tokens (B, N, D)."""
        return self.output(self.self(hidden, tokens, mask)[0], hidden)


class Layer(nn.Module):
    """Self-attention, cross-attention, feed-forward."""

    def __init__(self, width: int, heads: int, wide: int) -> None:
        super().__init__()
        self.attention = AttentionBlock(width, heads)
        self.crossattention = AttentionBlock(width, heads)
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, wide)})
        self.output = Output(wide, width)

    def feed_forward_chunk(self, hidden: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        return self.output(F.gelu(self.intermediate["dense"](hidden)), hidden)

    def forward(self, hidden: Tensor, mask: Tensor, tokens: Tensor) -> Tensor:
        """hidden: (B, T, D); mask: (B, T) bool of real tokens; tokens: (B, N, D) of the image."""
        return self.feed_forward_chunk(self.crossattention(self.attention(hidden, hidden, mask), tokens))


class Embeddings(nn.Module):
    """Words and places, normalised."""

    def __init__(self, vocabulary: int, width: int, places: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocabulary, width, padding_idx=0)
        self.position_embeddings = nn.Embedding(places, width)
        self.LayerNorm = nn.LayerNorm(width, eps=NORM_EPS)

    def forward(self, input_ids: Tensor, position_ids: Tensor | None = None) -> Tensor:
        """Ids (B, T) to (B, T, D); places count from 0 if none are given."""
        places = (
            torch.arange(input_ids.shape[1], device=input_ids.device)[None] if position_ids is None else position_ids
        )
        return self.LayerNorm(self.word_embeddings(input_ids) + self.position_embeddings(places))


class TextEncoder(nn.Module):
    """Token ids and image tokens to hidden states."""

    def __init__(self, config: PocketConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config.vocabulary, config.width, config.places)
        stack = nn.ModuleList(Layer(config.width, config.heads, config.feed_forward) for _ in range(config.layers))
        self.encoder = nn.ModuleDict({"layer": stack})
        self.apply(_initialise)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, tokens: Tensor) -> Tensor:
        """Last hidden states (B, T, D) of ids (B, T), their mask (1 = token) and image tokens (B, N, D)."""
        hidden, mask = self.embeddings(input_ids), attention_mask.bool()
        for layer in self.encoder["layer"].children():
            hidden = layer(hidden, mask, tokens)
        return hidden


def _initialise(module: nn.Module) -> None:
    """BERT's: weights from a normal distribution of deviation 0.02, no bias."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
