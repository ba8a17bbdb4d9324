"""Checkpoints of BLIP, ALBEF and mPLUG in their authors' layout, random.

The layouts follow the authors' public repositories (salesforce/BLIP, salesforce/ALBEF, X-PLUG/mPLUG).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]
State = dict[str, Tensor]


@dataclass(frozen=True)
class Sizes:
    """What a layout depends on; the defaults are small, `FULL` the published ones."""

    vision_width: int = 64
    vision_depth: int = 2
    text_width: int = 128
    text_depth: int = 4
    text_only: int = 2  # layers without cross-attention
    patch_px: int = 8
    side: int = 4
    vocabulary: int = 30522
    positions: int = 64
    embedding: int = 16


def _linear(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _attention(name: str, width: int, seen: int) -> Shapes:
    return (
        _linear(f"{name}.self.query", width, width) | _linear(f"{name}.self.key", width, seen)
        | _linear(f"{name}.self.value", width, seen) | _linear(f"{name}.output.dense", width, width)
        | _norm(f"{name}.output.LayerNorm", width)
    )  # fmt: skip


def _bert_layer(name: str, width: int, cross: int | None) -> Shapes:
    found = _attention(f"{name}.attention", width, width)
    found |= _attention(f"{name}.crossattention", width, cross) if cross else {}
    return (
        found | _linear(f"{name}.intermediate.dense", 4 * width, width) | _linear(f"{name}.output.dense", width, 4 * width)
        | _norm(f"{name}.output.LayerNorm", width)
    )  # fmt: skip


def _embeddings(name: str, s: Sizes, token_type: bool) -> Shapes:
    return {
        f"{name}.position_ids": (1, s.positions),
        f"{name}.word_embeddings.weight": (s.vocabulary, s.text_width),
        f"{name}.position_embeddings.weight": (s.positions, s.text_width),
        **({f"{name}.token_type_embeddings.weight": (2, s.text_width)} if token_type else {}),
        **_norm(f"{name}.LayerNorm", s.text_width),
    }


def _vit(name: str, s: Sizes) -> Shapes:
    width = s.vision_width
    found: Shapes = {
        f"{name}.cls_token": (1, 1, width),
        f"{name}.pos_embed": (1, 1 + s.side**2, width),
        f"{name}.patch_embed.proj.weight": (width, 3, s.patch_px, s.patch_px),
        f"{name}.patch_embed.proj.bias": (width,),
        **_norm(f"{name}.norm", width),
    }
    for i in range(s.vision_depth):
        block = f"{name}.blocks.{i}"
        found |= _norm(f"{block}.norm1", width) | _norm(f"{block}.norm2", width)
        found |= _linear(f"{block}.attn.qkv", 3 * width, width) | _linear(f"{block}.attn.proj", width, width)
        found |= _linear(f"{block}.mlp.fc1", 4 * width, width) | _linear(f"{block}.mlp.fc2", width, 4 * width)
    return found


def _clip(name: str, s: Sizes) -> Shapes:
    width = s.vision_width
    found: Shapes = {
        f"{name}.class_embedding": (width,),
        f"{name}.positional_embedding": (1 + s.side**2, width),
        f"{name}.conv1.weight": (width, 3, s.patch_px, s.patch_px),
        f"{name}.proj": (width, s.embedding),
        **_norm(f"{name}.ln_pre", width),
        **_norm(f"{name}.ln_post", width),
    }
    for i in range(s.vision_depth):
        block = f"{name}.transformer.resblocks.{i}"
        found |= {f"{block}.attn.in_proj_weight": (3 * width, width), f"{block}.attn.in_proj_bias": (3 * width,)}
        found |= _linear(f"{block}.attn.out_proj", width, width) | _linear(f"{block}.mlp.c_fc", 4 * width, width)
        found |= _linear(f"{block}.mlp.c_proj", width, 4 * width)
        found |= _norm(f"{block}.ln_1", width) | _norm(f"{block}.ln_2", width)
    return found


def _shared(s: Sizes) -> Shapes:
    """The heads, and what only training needs: temperature and queues."""
    return {
        **_linear("itm_head", 2, s.text_width),
        **_linear("text_proj", s.embedding, s.text_width),
        "temp": (),
        "image_queue": (s.embedding, 8),
        "text_queue": (s.embedding, 8),
        "idx_queue": (1, 8),
        "queue_ptr": (1,),
    }


def _with_momentum(shapes: Shapes, parts: tuple[str, ...]) -> Shapes:
    copies = {n.replace(p, f"{p}_m", 1): v for n, v in shapes.items() for p in parts if n.startswith(f"{p}.")}
    return shapes | copies


def blip_shapes(s: Sizes) -> Shapes:
    """BLIP's retrieval checkpoints: cross-attention in every text layer, no token types."""
    found = _vit("visual_encoder", s) | _embeddings("text_encoder.embeddings", s, token_type=False) | _shared(s)
    for i in range(s.text_depth):
        found |= _bert_layer(f"text_encoder.encoder.layer.{i}", s.text_width, s.vision_width)
    found |= _linear("vision_proj", s.embedding, s.vision_width)
    return _with_momentum(found, ("visual_encoder", "text_encoder", "vision_proj", "text_proj"))


def albef_shapes(s: Sizes, pretrained: bool = False) -> Shapes:
    """ALBEF's: plain BERT below, cross-attention above; the pre-trained file says `text_encoder.bert` and has an MLM head."""
    root = "text_encoder.bert" if pretrained else "text_encoder"
    found = _vit("visual_encoder", s) | _embeddings(f"{root}.embeddings", s, token_type=True) | _shared(s)
    for i in range(s.text_depth):
        cross = s.vision_width if i >= s.text_only else None
        found |= _bert_layer(f"{root}.encoder.layer.{i}", s.text_width, cross)
    if pretrained:
        found |= {"text_encoder.cls.predictions.bias": (s.vocabulary,)}
        found |= _linear("text_encoder.cls.predictions.transform.dense", s.text_width, s.text_width)
    found |= _linear("vision_proj", s.embedding, s.vision_width)
    return _with_momentum(found, ("visual_encoder", "text_encoder", "vision_proj", "text_proj"))


def mplug_shapes(s: Sizes, pretrained: bool = False) -> Shapes:
    """mPLUG's: the fusion encoder numbers its layers on from the text encoder's and carries unused lower ones."""
    text, fusion = ("text_encoder.bert", "fusion_encoder.fusion") if pretrained else ("text_encoder", "fusion_encoder")
    found = _clip("visual_encoder.visual", s) | _embeddings(f"{text}.embeddings", s, token_type=True) | _shared(s)
    found |= {"visual_encoder.logit_scale": (), "visual_encoder.text_projection": (s.embedding, s.embedding)}
    for i in range(s.text_only):
        found |= _bert_layer(f"{text}.encoder.layer.{i}", s.text_width, None)
    found |= _embeddings(f"{fusion}.embeddings", s, token_type=True)
    for i in range(s.text_depth):
        found |= _bert_layer(f"{fusion}.encoder.layer.{i}", s.text_width, s.text_width)
    if s.vision_width != s.text_width:
        found |= _linear("visn_fc", s.text_width, s.vision_width) | _norm("visn_layer_norm", s.text_width)
    if pretrained:
        found |= _bert_layer("text_decoder.bert.encoder.layer.0", s.text_width, s.text_width)
    found |= _linear("vision_proj", s.embedding, s.text_width)
    parts = (
        "visual_encoder",
        "text_encoder",
        "fusion_encoder",
        "vision_proj",
        "text_proj",
        "visn_fc",
        "visn_layer_norm",
    )
    return _with_momentum(found, parts)


def random_state(shapes: Shapes, seed: int = 0) -> State:
    """Random tensors of these shapes, drawn so that activations keep their size."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        is_norm = name.endswith("weight") and len(shape) == 1
        table = "embedding" in name and len(shape) > 1 and "patch" not in name
        scale = 0.5 if table else 1.5 / noise[0].numel() ** 0.5 if len(shape) > 1 and len(shape) != 3 else 0.3
        state[name] = noise * 0.1 + 1 if is_norm else noise * scale
    return state


SMALL = {"albef": Sizes(), "mplug": Sizes(), "blip": Sizes(vocabulary=30524, text_only=0, text_depth=3)}


def shapes(family: str, sizes: Sizes, pretrained: bool = False) -> Shapes:
    """{key: shape} of a family's original checkpoint."""
    if family == "blip":
        return blip_shapes(sizes)
    builder = albef_shapes if family == "albef" else mplug_shapes
    return builder(sizes, pretrained)
