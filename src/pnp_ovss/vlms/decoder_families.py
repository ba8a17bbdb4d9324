"""What differs between families of decoders: how pixels enter, and how many of them become one image token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from pnp_ovss.checkpoint import token_px
from pnp_ovss.errors import ConfigError, ModelError

Pixels = dict[str, Tensor | bool]


@dataclass(frozen=True)
class DecoderFamily:
    """One `model_type` of transformers.

    pixels: (1, 3, S_h, S_w) normalised, and the model's configuration, to what `get_image_features` takes. around: what
    the processor puts around the image's tokens. square: whether the image must be. bidirectional: whether the image
    reads the words too, so that nothing of it can be kept for several texts. stacked: whether the model wants image
    tokens as (1, N, D) instead of a list. plain: trained without a chat template.
    """

    pixels: Callable[[Tensor, Any], Pixels]
    around: tuple[str, str] = ("", "")
    square: bool = False
    bidirectional: bool = False
    stacked: bool = False
    plain: bool = False

    def image_features(self, model: Any, pixels: Tensor) -> Tensor:
        """(1, N, D·(1 + k)): the image's tokens, and beside them what k early layers get besides (Qwen3-VL).

        Raises ConfigError for a shape that the model cannot take, ModelError for another number of tokens.
        """
        height, width = pixels.shape[2:]
        if self.square and height != width:
            raise ConfigError(f"{model.config.model_type} takes square images only; leave keep_aspect off")
        found = model.get_image_features(**self.pixels(pixels, model.config), return_dict=True)
        side = token_px(model.config)
        parts = [found.pooler_output, *(getattr(found, "deepstack_features", None) or ())]
        flat = torch.cat([torch.cat([t.flatten(0, -2) for t in part]) for part in parts], dim=-1)
        if len(flat) != (height // side) * (width // side):
            raise ModelError(
                f"{model.config.model_type} makes {len(flat)} tokens of {height} x {width} px, not one for each "
                f"{side} x {side}: it cuts photos into tiles or joins patches otherwise, which this adapter does not read"
            )
        return flat[None]

    def as_outputs(self, tokens: Tensor, width: int) -> dict[str, Any]:
        """`mm_encoder_outputs` of (1, N, D·(1 + k)): the model puts them at the image's place. width: D."""
        parts = tokens.split(width, dim=-1)
        pooled = parts[0] if self.stacked else [parts[0][0]]
        return {"image": _Outputs(pooler_output=pooled, deepstack_features=[[part[0]] for part in parts[1:]])}


def cached(model: Any, cache: Any) -> dict[str, Any]:
    """What a model is called with to use a cache of keys and values: transformers 5.24 has another word for it."""
    word = "cache" if "cache" in signature(model.forward).parameters else "past_key_values"
    return {word: cache, "use_cache": True}


class _Outputs(SimpleNamespace):
    """What a picture's encoder would have given; of its outputs transformers asks `to_tuple` from 5.24 on."""

    def to_tuple(self) -> tuple[Any, ...]:
        return tuple(vars(self).values())


def _one_view(pixels: Tensor, config: Any) -> Pixels:  # noqa: ARG001
    return {"pixel_values": pixels}


def _interpolated(pixels: Tensor, config: Any) -> Pixels:
    """A tower with a table of positions, resized for other sizes than the trained one."""
    native = pixels.shape[-2:] == (config.vision_config.image_size,) * 2
    return {"pixel_values": pixels} if native else {"pixel_values": pixels, "interpolate_pos_encoding": True}


def _global_view(pixels: Tensor, config: Any) -> Pixels:  # noqa: ARG001
    """Idefics 3: the whole photo alone, none of the tiles."""
    return {"pixel_values": pixels[:, None]}


def _flat_patches(pixels: Tensor, config: Any) -> Pixels:
    """Qwen: patches as rows, the m x m that are merged side by side, the frame repeated for a video's two."""
    vision = config.vision_config
    side, merge = int(vision.patch_size), int(vision.spatial_merge_size)
    rows, columns = pixels.shape[2] // side, pixels.shape[3] // side
    cells = pixels[0].reshape(3, rows // merge, merge, side, columns // merge, merge, side)
    cells = cells.permute(1, 4, 2, 5, 0, 3, 6)[..., None, :, :].expand(
        *(-1,) * 5, int(vision.temporal_patch_size), -1, -1
    )
    grid = torch.tensor([[1, rows, columns]], device=pixels.device)
    return {"pixel_values": cells.reshape(rows * columns, -1), "image_grid_thw": grid}


_IDEFICS = DecoderFamily(
    _global_view,
    around=("<fake_token_around_image><global-img>", "<fake_token_around_image>"),
    square=True,
)
_QWEN = DecoderFamily(_flat_patches)
FAMILIES = {
    "llava": DecoderFamily(_interpolated),
    "paligemma": DecoderFamily(_interpolated, bidirectional=True, stacked=True, plain=True),
    "qwen2_vl": _QWEN,
    "qwen2_5_vl": _QWEN,
    "qwen3_vl": _QWEN,
    "idefics3": _IDEFICS,
    "smolvlm": _IDEFICS,
    "internvl": DecoderFamily(
        _one_view,
        around=("<img>", "</img>"),
        square=True,
        stacked=True,
    ),
}
"""`model_type` -> what is known of it. Others are taken as one view of one patch a token, which is checked as they run."""
OTHER = DecoderFamily(_one_view)


def family_for(model: Any) -> DecoderFamily:
    """The family of a model. Raises ModelError that says what a model lacks."""
    config = model.config
    for what in ("vision_config", "text_config", "image_token_id"):
        if getattr(config, what, None) is None:
            raise ModelError(f"{config.model_type} has no {what}; it is no vision-language decoder of transformers")
    if not hasattr(model, "get_image_features") or not hasattr(config.vision_config, "patch_size"):
        raise ModelError(
            f"{config.model_type} has no get_image_features or patch_size: its image tokens cannot be placed"
        )
    if "_next" in config.model_type or "onevision" in config.model_type:
        raise ModelError(f"{config.model_type} reads photos as tiles, and tiles have no one grid; take another model")
    return FAMILIES.get(config.model_type, OTHER)
