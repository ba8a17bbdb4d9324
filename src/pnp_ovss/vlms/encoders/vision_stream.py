"""BLIP's vision tower on transformers' weights with fused attention, without a graph, at any patch-multiple size."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

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
        """(1, 3, S_h, S_w) normalised -> (1, 1 + N', D), [CLS] first; `visible` (N,) bool removes the other patches."""
        weight = self.embeddings.patch_embedding.weight
        patches = self.embeddings.patch_embedding(pixels.to(weight.dtype))
        grid = (patches.shape[2], patches.shape[3])
        positions = self._position_table(grid).to(weight)
        tokens = patches.flatten(2).transpose(1, 2) + positions[:, 1:]
        if visible is not None:
            tokens = tokens[:, visible]
        start = self.embeddings.class_embedding.to(weight.dtype) + positions[:, :1]
        hidden = torch.cat([start, tokens], dim=1)
        for block in self.blocks:
            hidden = hidden + _self_attention(block.self_attn, block.layer_norm1(hidden))
            hidden = hidden + block.mlp(block.layer_norm2(hidden))
        return self.norm(hidden)

    def _position_table(self, grid: tuple[int, int]) -> Tensor:
        """(1, 1 + P_h·P_w, D) float32; the last few sizes are kept."""
        if grid not in self._positions:
            if len(self._positions) >= 8:
                self._positions.pop(next(iter(self._positions)))
            self._positions[grid] = resize_positions(self.embeddings.position_embedding.detach(), grid)
        return self._positions[grid]


def resize_positions(table: Tensor, grid: tuple[int, int], mode: str = "bicubic") -> Tensor:
    """The trained table (1, 1 + side², D), its patch part resized to the grid: (1, 1 + P_h·P_w, D) float32."""
    table = at_least_float32(table)
    side = int((table.shape[1] - 1) ** 0.5)
    if grid == (side, side):
        return table
    square = table[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
    resized = F.interpolate(square, size=grid, mode=mode, align_corners=False)
    return torch.cat([table[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)


def _self_attention(attention: Any, hidden: Tensor) -> Tensor:
    qkv = attention.qkv(hidden).unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    context = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
    return attention.projection(context.transpose(1, 2).flatten(2))
