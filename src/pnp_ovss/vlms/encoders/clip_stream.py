"""CLIP's vision transformer, as BridgeTower and mPLUG carry it, run with fused attention and without a graph."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pnp_ovss.vlms.encoders.vision_stream import resize_positions


class ClipStream:
    """A `BridgeTowerVisionTransformer` of transformers seen as pixels -> hidden states of its last blocks.

    position_mode: how the trained position table is resized to other grids.
    """

    def __init__(self, tower: Any, position_mode: Literal["bicubic", "bilinear"] = "bicubic") -> None:
        self.embeddings = tower.embeddings
        self.norm_before = tower.ln_pre
        self.blocks = tower.transformer.resblocks
        self.norm_after = tower.ln_post
        self.position_mode = position_mode
        self.patch_px = int(self.embeddings.patch_embedding.kernel_size[0])

    @torch.no_grad()
    def __call__(self, pixels: Tensor, visible: Tensor | None = None, *, last: int = 1) -> list[Tensor]:
        """(1, 3, S_h, S_w) normalised -> the states after each of the `last` blocks, (1, 1 + N', D), [CLS] first.

        `visible` (N,) bool removes the other patches. The final layer norm is applied to every state.
        """
        weight = self.embeddings.patch_embedding.weight
        patches = self.embeddings.patch_embedding(pixels.to(weight.dtype))
        table = self.embeddings.position_embedding.weight.detach()[None]
        positions = resize_positions(table, (patches.shape[2], patches.shape[3]), self.position_mode).to(weight)
        tokens = patches.flatten(2).transpose(1, 2) + positions[:, 1:]
        tokens = tokens if visible is None else tokens[:, visible]
        hidden = self.norm_before(torch.cat([self.embeddings.class_embedding + positions[:, :1], tokens], dim=1))
        states = []
        for left, block in zip(range(len(self.blocks) - 1, -1, -1), self.blocks, strict=True):
            hidden = hidden + _self_attention(block.attn, block.ln_1(hidden))
            hidden = hidden + _feed_forward(block.mlp, block.ln_2(hidden))
            if left < last:
                states.append(self.norm_after(hidden))
        return states


def _self_attention(module: nn.MultiheadAttention, hidden: Tensor) -> Tensor:
    joint = F.linear(hidden, module.in_proj_weight, module.in_proj_bias)
    query, key, value = joint.unflatten(-1, (3, module.num_heads, -1)).permute(2, 0, 3, 1, 4)
    context = F.scaled_dot_product_attention(query, key, value)
    return module.out_proj(context.transpose(1, 2).flatten(2))


def _feed_forward(module: nn.ModuleDict, hidden: Tensor) -> Tensor:
    for layer in module.values():
        hidden = layer(hidden)
    return hidden
