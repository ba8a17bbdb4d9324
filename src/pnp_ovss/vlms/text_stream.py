"""The text encoder of the BLIP family, run on transformers' weights, with the attention and gradient of any layer.

transformers' `BlipTextModel` is eager only and shares nothing between prompts. Here the image's keys and values are
projected once for all prompts; no graph exists below the asked layer; its leaf is the layer's context C = P V, from
which P_h = softmax(Q_h K_hᵀ/√d) and ∂/∂P_h = (∂/∂C_h) V_hᵀ follow without keeping a (heads, T, N) tensor; and the
last layer computes row 0 only, which is all the matching head reads. Equal to the plain model (tests).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pnp_ovss.config import Gradient
from pnp_ovss.saliency import match_objective
from pnp_ovss.vlms.base import Head, head_index, layer_index


@dataclass
class LayerRecord:
    """What one layer leaves behind: query (B, heads, T, d), key and value (1, heads, N, d), context (B, T, D)."""

    query: Tensor
    key: Tensor
    value: Tensor
    context: Tensor

    def attention(self, head: Head) -> Tensor:
        """Softmax probabilities (heads, T, N) of the first text."""
        h = head_index(head)
        scores = self.query[0, h] @ self.key[0, h].transpose(-1, -2)
        return (scores / self.query.shape[-1] ** 0.5).softmax(dim=-1)

    def gradient(self, context_grad: Tensor, head: Head) -> Tensor:
        """∂/∂P (heads, T, N) of the first text from ∂/∂C (B, T, D)."""
        heads = self.value.shape[1]
        per_head = context_grad[0].unflatten(-1, (heads, -1)).transpose(0, 1)
        h = head_index(head)
        return per_head[h] @ self.value[0, h].transpose(-1, -2)


Records = dict[int, LayerRecord | None]
KeysValues = dict[int, tuple[Tensor, Tensor]]


class TextStream:
    """A `BlipTextModel` and its matching head, seen as a function of token ids and one image's tokens.

    cross_layers: which layers (from 1) have cross-attention, found from the modules.
    """

    def __init__(self, text_model: Any, itm_head: nn.Linear) -> None:
        self.embeddings = text_model.embeddings
        self.blocks: Sequence[Any] = text_model.encoder.layer
        self.itm_head = itm_head
        self.heads = int(self.blocks[0].attention.self.num_attention_heads)
        self.cross_layers = tuple(i for i, b in enumerate(self.blocks, 1) if hasattr(b, "crossattention"))

    @torch.no_grad()
    def match(self, image: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Matching logits (B, 2). image: (1, M, D_v); ids: (B, T); mask: (B, T) bool, True = token."""
        return self._run(self.embeddings(ids), mask, self._keys_values(image))

    def attend(
        self, image: Tensor, ids: Tensor, layers: Sequence[int], head: Head, gradient: Gradient
    ) -> tuple[Tensor, dict[int, tuple[Tensor, Tensor | None]]]:
        """Logits (1, 2) and, per layer (from 1), probabilities and gradients (heads, T, M); grad None for `none`."""
        records: Records = {layer_index(layer): None for layer in layers}
        lowest = min(records)
        mask = torch.ones_like(ids, dtype=torch.bool)
        with torch.no_grad():
            keys_values = self._keys_values(image)
            hidden = self.embeddings(ids)
            for index in range(lowest):
                hidden = self._block(index, hidden, mask, keys_values.get(index))
        with torch.set_grad_enabled(gradient != "none"):
            logits = self._run(hidden, mask, keys_values, records, start=lowest)
            grads = self._context_grads(logits, records, gradient)
        found = {}
        with torch.no_grad():
            for layer in layers:
                record, grad = records[layer_index(layer)], grads[layer_index(layer)]
                assert record is not None
                weight = None if grad is None else record.gradient(grad, head)
                found[layer] = (record.attention(head), weight)
        return logits.detach(), found

    def _context_grads(self, logits: Tensor, records: Records, gradient: Gradient) -> dict[int, Tensor | None]:
        if gradient == "none":
            return dict.fromkeys(records)
        leaves = [record.context for record in records.values() if record is not None]
        grads = torch.autograd.grad(match_objective(logits, gradient), leaves)
        return dict(zip(records, grads, strict=True))

    def _keys_values(self, image: Tensor) -> KeysValues:
        """Key and value (1, heads, M, d) of every cross-attention layer, by index."""
        found = {}
        for layer in self.cross_layers:
            attention = self.blocks[layer_index(layer)].crossattention.self
            found[layer_index(layer)] = (
                self._split(attention.key(image)),
                self._split(attention.value(image)),
            )
        return found

    def _run(
        self,
        hidden: Tensor,
        mask: Tensor,
        keys_values: KeysValues,
        records: Records | None = None,
        start: int = 0,
    ) -> Tensor:
        """Layers from `start` to the matching logits; the layers named in `records` leave their record there."""
        last = len(self.blocks) - 1
        for index in range(start, len(self.blocks)):
            recorded = records is not None and index in records
            rows = 1 if index == last and not recorded else None
            hidden = self._block(index, hidden, mask, keys_values.get(index), records if recorded else None, rows)
        return self.itm_head(hidden[:, 0])

    def _block(
        self,
        index: int,
        hidden: Tensor,
        mask: Tensor,
        key_value: tuple[Tensor, Tensor] | None,
        records: Records | None = None,
        rows: int | None = None,
    ) -> Tensor:
        """One layer for the first `rows` positions (None = all): (B, T, D) -> (B, rows, D)."""
        block = self.blocks[index]
        hidden = self._self_attention(block.attention, hidden, mask, rows)
        if key_value is not None:
            query = self._split(block.crossattention.self.query(hidden))
            context = _attention(query, *key_value).transpose(1, 2).flatten(2)
            if records is not None:
                if torch.is_grad_enabled() and not context.requires_grad:
                    context.requires_grad_()
                records[index] = LayerRecord(query.detach(), *key_value, context)
            hidden = block.crossattention.output(context, hidden)
        return block.feed_forward_chunk(hidden)

    def _self_attention(self, attention: Any, hidden: Tensor, mask: Tensor, rows: int | None) -> Tensor:
        queried = hidden[:, :rows]
        query, key, value = (
            self._split(attention.self.query(queried)),
            self._split(attention.self.key(hidden)),
            self._split(attention.self.value(hidden)),
        )
        context = _attention(query, key, value, None if bool(mask.all()) else mask[:, None, None])
        return attention.output(context.transpose(1, 2).flatten(2), queried)

    def _split(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, heads, T, d)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(QKᵀ/√d)V; the fused kernel without a graph, plain products with one (its CPU backward is slow)."""
    key, value = key.expand(query.shape[0], -1, -1, -1), value.expand(query.shape[0], -1, -1, -1)
    if not torch.is_grad_enabled():
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(dim=-1) @ value
