"""Promptable segmenters: a photo is encoded once, and points give proposals. MobileSAM, SAM and SAM 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pnp_ovss.errors import ModelError
from pnp_ovss.images import normalise_pixels, resize_to

SIDE = 1024
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's photos, as SAM's and SAM 2's own processors have them, of pixels in [0, 1]."""


class Proposals(NamedTuple):
    """What a promptable segmenter answers to P points, n masks each.

    logits: (P, n, h, w) float32 over the whole photo, above 0 where the mask is; (h, w) has its aspect, any scale. predicted:
    (P, n) float32, what the model says of the IoU of each with the thing that was meant, about 0 to 1.
    """

    logits: Tensor
    predicted: Tensor


class SamSegmenter:
    """Any of transformers' SAM models that takes `image_embeddings` and points.

    model: a SamModel or Sam2Model, frozen. squash: SAM 2 stretches a photo to a square; SAM fits its longer side.
    """

    def __init__(self, model: Any, *, side: int = SIDE, squash: bool = False) -> None:
        self.model, self.side, self.squash = model, side, squash

    def encode(self, image: np.ndarray) -> Any:
        """The encoder's features, on the model's device."""
        height, width = self._fitted(image.shape[:2])
        small = torch.from_numpy(resize_to(image, (height, width)).astype(np.float32) / 255).permute(2, 0, 1)
        padded = F.pad(normalise_pixels(small, MEAN, DEVIATION), (0, self.side - width, 0, self.side - height))[None]
        with torch.inference_mode():
            return self.model.get_image_embeddings(padded.to(next(self.model.parameters()).device))

    def propose(self, features: Any, size: tuple[int, int], points: Sequence[tuple[float, float]]) -> Proposals:
        """Three for each point (x, y) on the thing, in pixels of the photo. size: (H, W) of the photo."""
        height, width = self._fitted(size)
        prompts = torch.tensor([[[[x * width / size[1], y * height / size[0]]] for x, y in points]])
        device = next(self.model.parameters()).device
        with torch.inference_mode():
            found = self.model(
                image_embeddings=features,
                input_points=prompts.to(device),
                input_labels=torch.ones(1, len(points), 1, dtype=torch.long, device=device),
                multimask_output=True,
            )
        masks = found.pred_masks[0].float()
        rows = max(1, round(masks.shape[-2] * height / self.side))
        columns = max(1, round(masks.shape[-1] * width / self.side))
        return Proposals(masks[..., :rows, :columns].clone(), found.iou_scores[0].float())

    def _fitted(self, size: tuple[int, ...]) -> tuple[int, int]:
        if self.squash:
            return self.side, self.side
        scale = self.side / max(size)
        return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


_NAMES = {
    "image_encoder.": "vision_encoder.",
    "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": "shared_image_embedding.positional_embedding",
    ".point_embeddings.": ".point_embed.",
    ".mask_downscaling.0.": ".mask_embed.conv1.",
    ".mask_downscaling.1.": ".mask_embed.layer_norm1.",
    ".mask_downscaling.3.": ".mask_embed.conv2.",
    ".mask_downscaling.4.": ".mask_embed.layer_norm2.",
    ".mask_downscaling.6.": ".mask_embed.conv3.",
    ".norm1.": ".layer_norm1.",
    ".norm2.": ".layer_norm2.",
    ".norm3.": ".layer_norm3.",
    ".norm4.": ".layer_norm4.",
    ".norm_final_attn.": ".layer_norm_final_attn.",
    ".output_upscaling.0.": ".upscale_conv1.",
    ".output_upscaling.1.": ".upscale_layer_norm.",
    ".output_upscaling.3.": ".upscale_conv2.",
}
_FEED_FORWARD = {".layers.0.": ".proj_in.", ".layers.1.": ".layers.0.", ".layers.2.": ".proj_out."}
_UNUSED = ("image_encoder.head.", "image_encoder.norm_head.")
_TIED = ("shared_image_embedding.positional_embedding", "prompt_encoder.shared_embedding.positional_embedding")


def mobile_sam(state: Mapping[str, Tensor], name: str = "mobile-sam") -> SamSegmenter:
    """MobileSAM from its published weights' state. Raises ModelError for anything that is not exactly that."""
    from transformers import SamConfig, SamModel

    from pnp_ovss.refiners.tinyvit import TinyViT

    small = {
        "hidden_size": 8,
        "num_hidden_layers": 0,
        "num_attention_heads": 1,
        "mlp_dim": 8,
        "global_attn_indexes": [],
    }
    model = SamModel(SamConfig(vision_config=small))
    model.add_module("vision_encoder", TinyViT())
    renamed = {_renamed(key): value for key, value in state.items() if not key.startswith(_UNUSED)}
    renamed[_TIED[1]] = renamed.get(_TIED[0], torch.empty(0))
    _fill(model, renamed, name)
    return SamSegmenter(model.eval().requires_grad_(False))


def _renamed(key: str) -> str:
    """The name in transformers' SamModel of a weight of MobileSAM."""
    if key.startswith("image_encoder."):
        return key.replace("image_encoder.", "vision_encoder.", 1)
    for old, new in _NAMES.items():
        key = key.replace(old, new)
    if "_mlps." in key or "_prediction_head." in key:
        first = next((old for old in _FEED_FORWARD if old in key), "")
        key = key.replace(first, _FEED_FORWARD.get(first, first))
    return key


def _fill(model: Any, state: Mapping[str, Tensor], name: str) -> None:
    try:
        result = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ModelError(f"{name}: {str(error).splitlines()[-1].strip()}; not MobileSAM's weights") from error
    if result.missing_keys or result.unexpected_keys:
        raise ModelError(
            f"{name}: missing {result.missing_keys[:3]}, left over {result.unexpected_keys[:3]}; not MobileSAM's weights"
        )
