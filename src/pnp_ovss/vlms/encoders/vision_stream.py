"""BLIP's vision tower on transformers' weights with fused attention, without a graph, at any patch-multiple size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pnp_ovss.vlms.base import at_least_float32


class VisionStream:
    """A `BlipVisionModel` seen as pixels -> tokens. Equal to the plain model (tests), several times faster."""

    def __init__(self, vision_model: Any) -> None:
        self.embeddings = vision_model.embeddings
        self.blocks = vision_model.encoder.layers
        self.norm = vision_model.post_layernorm
        self.patch_px = int(self.embeddings.patch_size)
        self._positions: dict[tuple[int, int], Tensor] = {}

    @torch.no_grad()
    def __call__(self, pixels: Tensor, visible: Tensor | None = None) -> Tensor:
        """(P, 3, S_h, S_w) normalised -> (P, 1 + N', D), [CLS] first; `visible` as `in_sight` takes it."""
        embeddings = self.embeddings
        hidden = embed_patches(
            embeddings.patch_embedding, pixels, embeddings.class_embedding, self._position_table, visible
        )
        for block in self.blocks:
            joint = block.self_attn.qkv(block.layer_norm1(hidden))
            hidden = hidden + block.self_attn.projection(self_attention(joint, block.self_attn.num_heads))
            hidden = hidden + block.mlp(block.layer_norm2(hidden))
        return self.norm(hidden)

    def _position_table(self, grid: tuple[int, int]) -> Tensor:
        """(1, 1 + P_h·P_w, D) float32; the last few sizes are kept."""
        if grid not in self._positions:
            if len(self._positions) >= 8:
                self._positions.pop(next(iter(self._positions)))
            self._positions[grid] = resize_positions(self.embeddings.position_embedding.detach(), grid)
        return self._positions[grid]


def embed_patches(
    convolution: nn.Conv2d,
    pixels: Tensor,
    start: Tensor,
    positions_of: Callable[[tuple[int, int]], Tensor],
    visible: Tensor | None,
) -> Tensor:
    """Tokens (P, 1 + N', D) of pixels (P, 3, S_h, S_w): [CLS], which is `start`, and the patches, at their positions.

    positions_of: the table (1, 1 + P_h·P_w, D) of a grid. `visible` as `in_sight` takes it.
    """
    weight = convolution.weight
    patches = convolution(pixels.to(weight.dtype))
    positions = positions_of((patches.shape[2], patches.shape[3])).to(weight)
    tokens = patches.flatten(2).transpose(1, 2) + positions[:, 1:]
    first = (start.to(weight.dtype) + positions[:, :1]).expand(len(tokens), -1, -1)
    return torch.cat([first, in_sight(tokens, visible)], dim=1)


def in_sight(tokens: Tensor, visible: Tensor | None) -> Tensor:
    """(P, N, D) to (P, N', D): the patches of `visible`, (N,) bool or (P, N) with as many in every row; None = all."""
    if visible is None or visible.ndim == 1:
        return tokens if visible is None else tokens[:, visible]
    return tokens[visible].unflatten(0, (len(tokens), -1))


def resize_positions(
    table: Tensor, grid: tuple[int, int], mode: str = "bicubic", *, align_corners: bool = False
) -> Tensor:
    """The trained table (1, 1 + side², D), its patch part resized to the grid: (1, 1 + P_h·P_w, D) float32."""
    table = at_least_float32(table)
    side = int((table.shape[1] - 1) ** 0.5)
    if grid == (side, side):
        return table
    square = table[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
    resized = F.interpolate(square, size=grid, mode=mode, align_corners=align_corners)
    return torch.cat([table[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)


def self_attention(joint: Tensor, heads: int) -> Tensor:
    """Context (B, T, D) of query, key and value side by side (B, T, 3·D), before the output's projection."""
    query, key, value = joint.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
