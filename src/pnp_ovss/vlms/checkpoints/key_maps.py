"""The names of weights in the original checkpoints of BLIP, ALBEF and mPLUG, and in the models that run them here.

Every name must be known: what a family does not use for matching (momentum copies, queues, decoders, the language
head) is dropped by its pattern, and whatever remains must fit the model exactly (`convert.py` checks it).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pnp_ovss.errors import ModelError
from pnp_ovss.vlms.checkpoints.pickles import State

_VIT = {
    "cls_token": "embeddings.class_embedding",
    "pos_embed": "embeddings.position_embedding",
    "patch_embed.proj.": "embeddings.patch_embedding.",
    "blocks.": "encoder.layers.",
    ".attn.proj.": ".self_attn.projection.",
    ".attn.": ".self_attn.",
    ".norm1.": ".layer_norm1.",
    ".norm2.": ".layer_norm2.",
}
_CLIP = {
    "conv1.": "embeddings.patch_embedding.",
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
}
_MPLUG_UNUSED = (
    r"|decode|^visual_encoder\.(?!visual\.)|\.visual\.proj$|^(vision|text)_proj\.|^fusion_encoder\..*embeddings"
)
_UNUSED = r"_m\.|_queue$|queue_ptr$|^temp$|position_ids$|^text_decoder|\.cls\.|\.pooler\."


@dataclass(frozen=True)
class Converted:
    """Weights under the names of our adapter, and the config.json that goes with them."""

    weights: State
    config: dict[str, Any]


def convert_blip(state: State) -> Converted:
    """Salesforce's BLIP (and LAVIS) names to transformers'."""
    kept = _without(state, _UNUSED)
    weights = {_vit_name(name): value for name, value in kept.items()}
    return Converted(weights, {"model_type": "blip", **_blip_config(weights)})


def convert_albef(state: State) -> Converted:
    """ALBEF's names to those of transformers' BLIP; the token type is folded into the positions."""
    kept = _without(state, _UNUSED)
    text = {name.replace("text_encoder.bert.", "text_encoder."): value for name, value in kept.items()}
    weights = _fold_token_type({_vit_name(name): value for name, value in text.items()})
    first = _first_cross_layer(weights)
    return Converted(weights, {"model_type": "albef", "first_cross_layer": first, "blip": _blip_config(weights)})


def convert_mplug(state: State) -> Converted:
    """mPLUG's names to those of `MplugModel`; its text and fusion encoders become one stack of layers."""
    kept = _without(state, _UNUSED + _MPLUG_UNUSED)
    kept = {re.sub(r"(encoder)\.(fusion|bert)\.", r"\1.", name): value for name, value in kept.items()}
    layers = _count(kept, r"^text_encoder\.encoder\.layer\.(\d+)")
    below = {
        name for name in kept if (m := re.match(r"fusion_encoder\..*\.layer\.(\d+)\.", name)) and int(m[1]) < layers
    }
    weights = _fold_token_type({_mplug_name(name): value for name, value in kept.items() if name not in below})
    return Converted(weights, {"model_type": "mplug", "first_cross_layer": layers + 1, **_mplug_config(weights)})


def _without(state: State, pattern: str) -> State:
    return {name: value for name, value in state.items() if not re.search(pattern, name)}


def _vit_name(name: str) -> str:
    if not name.startswith("visual_encoder."):
        return name
    rest = name.removeprefix("visual_encoder.")
    for old, new in _VIT.items():
        rest = rest.replace(old, new)
    return "vision_model." + re.sub(r"^norm\.", "post_layernorm.", rest)


def _mplug_name(name: str) -> str:
    if not name.startswith("visual_encoder.visual."):
        return name.replace("fusion_encoder.", "text_encoder.")
    rest = name.removeprefix("visual_encoder.visual.")
    for old, new in _CLIP.items():
        rest = new + rest.removeprefix(old) if rest.startswith(old) else rest
    return "vision_model.visual." + rest


def _fold_token_type(weights: State) -> State:
    """BERT adds the embedding of token type 0 everywhere; BLIP's classes have none, so it moves into the positions."""
    prefix = "text_encoder.embeddings."
    kinds = _get(weights, prefix + "token_type_embeddings.weight")
    positions = _get(weights, prefix + "position_embeddings.weight")
    rest = {name: value for name, value in weights.items() if "token_type" not in name}
    return rest | {prefix + "position_embeddings.weight": positions + kinds[0]}


def _get(weights: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in weights:
        raise ModelError(f"the checkpoint has no {name}; it is of another family, choose another --as")
    return weights[name]


def _first_cross_layer(weights: State) -> int:
    """The first text layer, from 1, that has cross-attention."""
    found = [int(m[1]) for name in weights if (m := re.search(r"\.layer\.(\d+)\.crossattention", name))]
    if not found:
        raise ModelError("the checkpoint has no cross-attention; it is of another family, choose another --as")
    return min(found) + 1


def _count(weights: State, pattern: str) -> int:
    return 1 + max((int(m[1]) for name in weights if (m := re.search(pattern, name))), default=-1)


def _text_config(weights: State) -> dict[str, Any]:
    prefix = "text_encoder."
    words = _get(weights, prefix + "embeddings.word_embeddings.weight")
    first = _first_cross_layer(weights) - 1
    width = words.shape[1]
    return {
        "vocab_size": words.shape[0],
        "hidden_size": width,
        "num_attention_heads": max(1, width // 64),
        "intermediate_size": _get(weights, prefix + "encoder.layer.0.intermediate.dense.weight").shape[0],
        "num_hidden_layers": _count(weights, r"text_encoder\.encoder\.layer\.(\d+)"),
        "max_position_embeddings": _get(weights, prefix + "embeddings.position_embeddings.weight").shape[0],
        "encoder_hidden_size": _get(weights, f"{prefix}encoder.layer.{first}.crossattention.self.key.weight").shape[1],
        "layer_norm_eps": 1e-12,
    }


def _vision_config(weights: State, patches: str, positions: str, blocks: str) -> dict[str, Any]:
    kernel = _get(weights, patches)
    table = _get(weights, positions)
    side = int((table.shape[-2] - 1) ** 0.5)
    return {
        "hidden_size": kernel.shape[0],
        "patch_size": kernel.shape[-1],
        "image_size": side * kernel.shape[-1],
        "num_hidden_layers": _count(weights, blocks),
    }


def _blip_config(weights: State) -> dict[str, Any]:
    base = "vision_model.embeddings."
    vision = _vision_config(
        weights, base + "patch_embedding.weight", base + "position_embedding", r"^vision_model\.encoder\.layers\.(\d+)"
    )
    vision |= {
        "num_attention_heads": max(1, vision["hidden_size"] // 64),
        "intermediate_size": _get(weights, "vision_model.encoder.layers.0.mlp.fc1.weight").shape[0],
        "layer_norm_eps": 1e-6,
    }
    projection = _get(weights, "vision_proj.weight").shape[0]
    return {"text_config": _text_config(weights), "vision_config": vision, "image_text_hidden_size": projection}


def _mplug_config(weights: State) -> dict[str, Any]:
    base = "vision_model.visual."
    vision = _vision_config(
        weights,
        base + "embeddings.patch_embedding.weight",
        base + "embeddings.position_embedding.weight",
        r"visual\.transformer\.resblocks\.(\d+)",
    )
    return {"text": _text_config(weights), "vision": vision}
