"""Dense features of an unchanged CLIP, as MaskCLIP (Zhou, Loy, Dai, ECCV 2022) takes them; MaskCLIP and
ReCo build on it.

In the last block every patch keeps its own value instead of attending: value and output projection, then
residual and feed-forward as trained. The patches end up in the space of the text embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pnp_ovss.clip import Clip
from pnp_ovss.vlms.base import evaluating

TEMPLATES = ("a photo of a {}.", "a photo of the {}.", "there is a {} in the scene.", "a picture of {}.")


@dataclass(frozen=True)
class DenseFeatures:
    """patches: (P, D) unit vectors in CLIP's joint space. keys: (P, D') of the last block. grid: (P_h, P_w)."""

    patches: Tensor
    keys: Tensor
    grid: tuple[int, int]


class DenseClip:
    """A CLIP of transformers with dense image features and text vectors averaged over templates."""

    def __init__(self, clip: Clip, *, size_px: int = 336) -> None:
        self.clip = clip
        self.model = clip.model
        self.name = clip.name
        self.patch_px: int = self.model.vision_model.embeddings.patch_size
        self.size_px = max(self.patch_px, size_px // self.patch_px * self.patch_px)
        self._texts: dict[str, Tensor] = {}

    @torch.no_grad()
    def dense(self, image: np.ndarray) -> DenseFeatures:
        """Features of an (H, W, 3) uint8 image, squashed to a square."""
        side = self.size_px // self.patch_px
        with evaluating(self.model):
            hidden = self._before_last(image)
            block = self.model.vision_model.encoder.layers[-1]
            normed = block.layer_norm1(hidden)
            keys = block.self_attn.k_proj(normed)[0, 1:].float()
            hidden = hidden + block.self_attn.out_proj(block.self_attn.v_proj(normed))
            hidden = hidden + block.mlp(block.layer_norm2(hidden))
            patches = self.clip.joint(self.model.vision_model.post_layernorm(hidden[0, 1:]))
        return DenseFeatures(patches, F.normalize(keys, dim=1), (side, side))

    @torch.no_grad()
    def whole(self, image: np.ndarray) -> Tensor:
        """CLIP's own unit vector (D,) of an image."""
        with evaluating(self.model):
            pixels = self.clip.pixels([image], self.size_px)
            pooled = self.model.vision_model(pixel_values=pixels, interpolate_pos_encoding=True).pooler_output
            return self.clip.joint(pooled)[0]

    def texts(self, names: Sequence[str]) -> Tensor:
        """Unit vectors (len(names), D), each the mean over the templates."""
        for name in names:
            if name not in self._texts:
                vectors = self.clip.texts([template.format(name) for template in TEMPLATES])
                self._texts[name] = F.normalize(vectors.mean(dim=0), dim=0)
        return torch.stack([self._texts[name] for name in names])

    def _before_last(self, image: np.ndarray) -> Tensor:
        """Hidden states (1, 1 + P, D') that enter the last block."""
        tower = self.model.vision_model
        hidden = tower.pre_layrnorm(
            tower.embeddings(self.clip.pixels([image], self.size_px), interpolate_pos_encoding=True)
        )
        for block in tower.encoder.layers[:-1]:
            hidden = block(hidden, attention_mask=None)
        return hidden


def upsample(maps: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """(C, P) over a patch grid to (C, H, W), bilinear."""
    return F.interpolate(maps.unflatten(1, grid)[None], size=size, mode="bilinear", align_corners=False)[0]
