"""The forward passes of BLIP, ALBEF and mPLUG written anew, as plain functions of a state dict in their authors' layout."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]


def original_logits(state: State, family: str, pixels: Tensor, ids: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Matching logits (1, 2) and the attention (heads, T, 1 + N) of each layer that has cross-attention.

    state: the original layout without `bert.` or `fusion.`. pixels: (3, H, W) normalised; ids: (1, T).
    """
    image = _clip_forward(state, pixels) if family == "mplug" else _vit_forward(state, pixels)
    name = "text_encoder.embeddings"
    hidden = state[f"{name}.word_embeddings.weight"][ids] + state[f"{name}.position_embeddings.weight"][: ids.shape[1]]
    if f"{name}.token_type_embeddings.weight" in state:
        hidden = hidden + state[f"{name}.token_type_embeddings.weight"][0]
    hidden = _layer_norm(state, f"{name}.LayerNorm", hidden, 1e-12)
    maps = []
    depth = 1 + max(int(n.split("layer.")[1].split(".")[0]) for n in state if ".encoder.layer." in n and "_m." not in n)
    for i in range(depth):
        layer = f"text_encoder.encoder.layer.{i}"
        fused = f"fusion_encoder.encoder.layer.{i}" if family == "mplug" else layer
        layer = layer if f"{layer}.attention.self.query.weight" in state else fused
        hidden, _ = _attend(state, f"{layer}.attention", hidden, hidden)
        if f"{layer}.crossattention.self.query.weight" in state:
            hidden, probs = _attend(state, f"{layer}.crossattention", hidden, image)
            maps.append(probs)
        inner = F.gelu(_dense(state, f"{layer}.intermediate.dense", hidden))
        hidden = _layer_norm(
            state, f"{layer}.output.LayerNorm", hidden + _dense(state, f"{layer}.output.dense", inner), 1e-12
        )
    return _dense(state, "itm_head", hidden[:, 0]), maps


def _dense(state: State, name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def _layer_norm(state: State, name: str, x: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    unit = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    return unit * state[f"{name}.weight"] + state[f"{name}.bias"]


def _softmax_attention(query: Tensor, key: Tensor, value: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """(B, T, D) each; returns the context (B, T, D) and probabilities (B, heads, T, N)."""
    query, key, value = (x.reshape(*x.shape[:2], heads, -1).permute(0, 2, 1, 3) for x in (query, key, value))
    probs = torch.softmax(query @ key.mT / query.shape[-1] ** 0.5, dim=-1)
    return (probs @ value).permute(0, 2, 1, 3).flatten(2), probs


def _attend(state: State, name: str, hidden: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    query = _dense(state, f"{name}.self.query", hidden)
    key, value = _dense(state, f"{name}.self.key", seen), _dense(state, f"{name}.self.value", seen)
    context, probs = _softmax_attention(query, key, value, query.shape[-1] // 64)
    out = _dense(state, f"{name}.output.dense", context)
    return _layer_norm(state, f"{name}.output.LayerNorm", hidden + out, 1e-12), probs


def _resized(table: Tensor, height: int, width: int, mode: str) -> Tensor:
    """(1 + side², D) to (1 + height·width, D)."""
    side = round((len(table) - 1) ** 0.5)
    if (side, side) == (height, width):
        return table
    grid = table[1:].T.reshape(1, -1, side, side)
    return torch.cat([table[:1], F.interpolate(grid, (height, width), mode=mode).flatten(2)[0].T])


def _vit_forward(state: State, pixels: Tensor) -> Tensor:
    name, kernel = "visual_encoder", state["visual_encoder.patch_embed.proj.weight"]
    grid = F.conv2d(pixels[None], kernel, state[f"{name}.patch_embed.proj.bias"], stride=kernel.shape[-1])
    hidden = torch.cat([state[f"{name}.cls_token"], grid.flatten(2).mT], dim=1)
    hidden = hidden + _resized(state[f"{name}.pos_embed"][0], grid.shape[2], grid.shape[3], "bicubic")
    for i in range(sum(n.startswith(f"{name}.blocks.") and n.endswith("norm1.weight") for n in state)):
        block = f"{name}.blocks.{i}"
        parts = _dense(state, f"{block}.attn.qkv", _layer_norm(state, f"{block}.norm1", hidden, 1e-6)).chunk(3, dim=-1)
        context, _ = _softmax_attention(*parts, hidden.shape[-1] // 64)
        hidden = hidden + _dense(state, f"{block}.attn.proj", context)
        inner = F.gelu(_dense(state, f"{block}.mlp.fc1", _layer_norm(state, f"{block}.norm2", hidden, 1e-6)))
        hidden = hidden + _dense(state, f"{block}.mlp.fc2", inner)
    return _layer_norm(state, f"{name}.norm", hidden, 1e-6)


def _clip_forward(state: State, pixels: Tensor) -> Tensor:
    name, kernel = "visual_encoder.visual", state["visual_encoder.visual.conv1.weight"]
    grid = F.conv2d(pixels[None], kernel, stride=kernel.shape[-1])
    hidden = torch.cat([state[f"{name}.class_embedding"][None, None], grid.flatten(2).mT], dim=1)
    hidden = hidden + _resized(state[f"{name}.positional_embedding"], grid.shape[2], grid.shape[3], "bilinear")
    hidden = _layer_norm(state, f"{name}.ln_pre", hidden, 1e-5)
    for i in range(sum(n.startswith(f"{name}.transformer") and n.endswith("ln_1.weight") for n in state)):
        block = f"{name}.transformer.resblocks.{i}"
        joint = _layer_norm(state, f"{block}.ln_1", hidden, 1e-5) @ state[f"{block}.attn.in_proj_weight"].T
        parts = (joint + state[f"{block}.attn.in_proj_bias"]).chunk(3, dim=-1)
        context, _ = _softmax_attention(*parts, hidden.shape[-1] // 64)
        hidden = hidden + _dense(state, f"{block}.attn.out_proj", context)
        inner = _dense(state, f"{block}.mlp.c_fc", _layer_norm(state, f"{block}.ln_2", hidden, 1e-5))
        hidden = hidden + _dense(state, f"{block}.mlp.c_proj", inner * torch.sigmoid(1.702 * inner))
    hidden = _layer_norm(state, f"{name}.ln_post", hidden, 1e-5)
    if "visn_fc.weight" in state:
        hidden = _layer_norm(state, "visn_layer_norm", _dense(state, "visn_fc", hidden), 1e-12)
    return hidden
