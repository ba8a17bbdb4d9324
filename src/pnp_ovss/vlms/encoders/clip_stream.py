"""CLIP's vision transformer, as BridgeTower and mPLUG carry it, run with fused attention and without a graph."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pnp_ovss.vlms.encoders.vision_stream import embed_patches, resize_positions, self_attention


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
        """(P, 3, S_h, S_w) normalised -> the states after each of the `last` blocks, (P, 1 + N', D), [CLS] first.

        `visible` as `in_sight` takes it. The final layer norm is applied to every state.
        """
        embeddings = self.embeddings
        table = embeddings.position_embedding.weight.detach()[None]
        positions_of = partial(resize_positions, table, mode=self.position_mode)
        tokens = embed_patches(embeddings.patch_embedding, pixels, embeddings.class_embedding, positions_of, visible)
        hidden = self.norm_before(tokens)
        states = []
        for left, block in zip(range(len(self.blocks) - 1, -1, -1), self.blocks, strict=True):
            joint = F.linear(block.ln_1(hidden), block.attn.in_proj_weight, block.attn.in_proj_bias)
            hidden = hidden + block.attn.out_proj(self_attention(joint, block.attn.num_heads))
            hidden = hidden + _feed_forward(block.mlp, block.ln_2(hidden))
            if left < last:
                states.append(self.norm_after(hidden))
        return states


def _feed_forward(module: nn.ModuleDict, hidden: Tensor) -> Tensor:
    for layer in module.values():
        hidden = layer(hidden)
    return hidden
