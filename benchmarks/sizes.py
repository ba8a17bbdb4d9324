"""True-size models with random weights, and the multiplications that the method needs on them."""

from dataclasses import dataclass

import torch
from transformers import BlipConfig, BlipForImageTextRetrieval


@dataclass(frozen=True)
class Sizes:
    """Widths and depths of a BLIP: vision tower, then text encoder."""

    vision_width: int
    vision_layers: int
    vision_heads: int
    text_width: int = 768
    text_layers: int = 12
    text_heads: int = 12
    patch_px: int = 16
    native_px: int = 384


BLIP_LARGE = Sizes(1024, 24, 16)
BLIP_BASE = Sizes(768, 12, 12)


def build_blip(sizes: Sizes) -> BlipForImageTextRetrieval:
    """A `BlipForImageTextRetrieval` of these sizes; seeded random weights, attention sharpened so that maps differ."""
    torch.manual_seed(0)
    config = BlipConfig(
        text_config={
            "vocab_size": 30524, "hidden_size": sizes.text_width, "encoder_hidden_size": sizes.vision_width,
            "intermediate_size": 4 * sizes.text_width, "num_hidden_layers": sizes.text_layers,
            "num_attention_heads": sizes.text_heads, "is_decoder": True, "max_position_embeddings": 512,
            "bos_token_id": 101, "eos_token_id": 102, "sep_token_id": 102, "pad_token_id": 0,
        },
        vision_config={
            "hidden_size": sizes.vision_width, "intermediate_size": 4 * sizes.vision_width,
            "num_hidden_layers": sizes.vision_layers, "num_attention_heads": sizes.vision_heads,
            "image_size": sizes.native_px, "patch_size": sizes.patch_px,
        },
    )  # fmt: skip
    model = BlipForImageTextRetrieval(config).eval()
    with torch.no_grad():
        for layer in model.text_encoder.encoder.layer:
            layer.crossattention.self.query.weight.mul_(6)
            layer.crossattention.self.key.weight.mul_(6)
    return model


def flops(sizes: Sizes, size_px: int, tokens: int, *, layer: int = 8, passes: int = 5) -> float:
    """Floating-point operations of all passes: image encoder, text encoder, gradient down to `layer`'s context.

    A multiply-add counts 2. The backward pass needs gradients by activations only: once more the forward above the
    layer's context (output projection and feed-forward of `layer`, and all of the later layers).
    """
    n = (size_px // sizes.patch_px) ** 2 + 1
    d, w, t = sizes.vision_width, sizes.text_width, tokens
    image = 2 * (n - 1) * 3 * sizes.patch_px**2 * d + sizes.vision_layers * (2 * n * 12 * d * d + 4 * n * n * d)
    keys_values = sizes.text_layers * 2 * n * 2 * d * w
    own = 2 * t * 4 * w * w + 4 * t * t * w
    cross = 2 * t * 2 * w * w + 4 * t * n * w
    feed = 2 * t * 8 * w * w
    text = (sizes.text_layers - 1) * (own + cross + feed) + 2 * t * 2 * w * w  # the last layer: one row and its keys
    backward = (sizes.text_layers - layer - 1) * (own + cross + feed) + feed + 2 * t * w * w
    return float(passes * (image + keys_values + text + backward))
