"""The built-in pocket model behind the adapter protocol; its text side is served by BLIP's code."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from pnp_ovss.config import Precision
from pnp_ovss.presets import ModelPreset
from pnp_ovss.vlms.base import ImageFeatures, evaluating
from pnp_ovss.vlms.blip import CrossAttentionVLM
from pnp_ovss.vlms.efficientnet import STRIDE_PX
from pnp_ovss.vlms.pocket_model import MEAN, SIZE_MULTIPLE_PX, STD, PocketModel, load_pocket
from pnp_ovss.vlms.text_stream import TextStream
from pnp_ovss.vlms.wordpiece import WordPieceTokenizer


class PocketVLM(CrossAttentionVLM):
    """A `PocketModel`; a "patch" is one stride-16 cell of its convolutional trunk."""

    mean = MEAN
    std = STD
    patch_px = STRIDE_PX
    size_step_px = SIZE_MULTIPLE_PX

    def __init__(
        self,
        model: PocketModel,
        tokenizer: WordPieceTokenizer,
        *,
        name: str = "pocket",
        precision: Precision = "float32",
    ) -> None:
        if precision != "float32":
            model.image_encoder.bfloat16()
        if precision == "bfloat16":
            model.bfloat16()
        super().__init__(name, model, TextStream(model.text_encoder, model.itm_head), tokenizer)
        self.image_encoder = model.image_encoder

    @torch.no_grad()
    def encode(self, pixels: Tensor, kept: Tensor | None = None) -> ImageFeatures:
        """(3, S_h, S_w) normalised pixels to tokens (1, N', D); removed patches leave the keys, not the trunk."""
        grid = (pixels.shape[1] // self.patch_px, pixels.shape[2] // self.patch_px)
        weight = self.image_encoder.position
        with evaluating(self.model):
            tokens = self.image_encoder(pixels[None].to(weight.device, weight.dtype))
        tokens = tokens if kept is None else tokens[:, kept]
        return ImageFeatures(tokens.to(self.text.itm_head.weight.dtype), grid, kept)


def load_pocket_vlm(preset: ModelPreset, folder: Path | None, *, precision: Precision = "float32") -> PocketVLM:
    """The built-in weights, or a folder of the same layout (a retrained pocket model)."""
    model, tokenizer = load_pocket(None if folder is None else folder / "pocket.safetensors")
    return PocketVLM(model, WordPieceTokenizer(tokenizer), name=preset.name, precision=precision)
