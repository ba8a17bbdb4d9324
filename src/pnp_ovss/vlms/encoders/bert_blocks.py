"""BERT-like layers with cross-attention, run on transformers' weights, with the attention and gradient of any of them.

BLIP, ALBEF, mPLUG, BridgeTower and the pocket model name the parts of a layer alike (`attention`, `crossattention`,
`feed_forward_chunk`); what differs is which hidden states meet, and that stays in each adapter's stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pnp_ovss.config import Gradient
from pnp_ovss.vlms.base import Found, Head, head_index, layer_index, objective_grads

KeyValue = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class LayerRecord:
    """What one layer leaves behind: query (B, heads, T, d), key and value (B, heads, N, d), context (B, ≥ T, D)."""

    query: Tensor
    key: Tensor
    value: Tensor
    context: Tensor

    def attention(self, head: Head) -> Tensor:
        """Softmax probabilities (B, heads, T, N)."""
        h = head_index(head)
        scores = self.query[:, h] @ self.key[:, h].transpose(-1, -2)
        return (scores / self.query.shape[-1] ** 0.5).softmax(dim=-1)

    def gradient(self, context_grad: Tensor, head: Head) -> Tensor:
        """∂/∂P (B, heads, T, N) from ∂/∂C (B, ≥ T, D)."""
        heads, rows = self.value.shape[1], self.query.shape[2]
        per_head = split_heads(context_grad[:, :rows], heads)
        h = head_index(head)
        return per_head[:, h] @ self.value[:, h].transpose(-1, -2)


class Records:
    """The asked layers of one forward pass (indices from 0), and what each leaves behind as it runs."""

    def __init__(self, layers: Sequence[int] = ()) -> None:
        self.layers = tuple(layers)
        self._kept: dict[int, LayerRecord] = {}

    def __contains__(self, index: int) -> bool:
        return index + 1 in self.layers

    @property
    def lowest(self) -> int:
        """The index of the first layer that is asked for: below it no graph is needed."""
        return layer_index(min(self.layers))

    def keep(self, index: int, query: Tensor, key_value: KeyValue, context: Tensor) -> None:
        """Keep an asked layer's parts. Its context becomes the leaf of the graph, unless one already runs through it."""
        if index not in self:
            return
        if torch.is_grad_enabled() and not context.requires_grad:
            context.requires_grad_()
        self._kept[index] = LayerRecord(query.detach(), key_value[0].detach(), key_value[1].detach(), context)

    @torch.no_grad()
    def read(self, logits: Tensor, head: Head, gradient: Gradient) -> Found:
        """Probabilities and gradients (of the objective) of the asked layers (from 1), all rows and columns."""
        kept = [self._kept[layer_index(layer)] for layer in self.layers]
        grads = objective_grads(logits, gradient, [record.context for record in kept])
        return {
            layer: (record.attention(head), None if grad is None else record.gradient(grad, head))
            for layer, record, grad in zip(self.layers, kept, grads, strict=True)
        }


class BertBlocks:
    """A stack of layers seen as functions of hidden states."""

    def __init__(self, blocks: Any) -> None:
        self.blocks = blocks
        self.heads = int(blocks[0].attention.self.num_attention_heads)
        self.cross_layers = tuple(i for i, b in enumerate(blocks, 1) if hasattr(b, "crossattention"))

    def __len__(self) -> int:
        return len(self.blocks)

    def key_value(self, index: int, tokens: Tensor) -> KeyValue:
        """Cross-attention's key and value (B, heads, M, d) of the tokens (B, M, D) that are looked at."""
        attention = self.blocks[index].crossattention.self
        return split_heads(attention.key(tokens), self.heads), split_heads(attention.value(tokens), self.heads)

    def run(
        self,
        index: int,
        hidden: Tensor,
        mask: Tensor | None,
        key_value: KeyValue | None,
        records: Records,
        *,
        rows: int | None = None,
        key_mask: Tensor | None = None,
    ) -> Tensor:
        """One layer for the first `rows` positions (None = all): (B, T, D) -> (B, rows, D).

        mask: (B, T) bool of real tokens, None = all. key_value: what cross-attention looks at, None = nothing;
        key_mask: (B, M) bool of its real tokens. records: where an asked layer leaves its parts.
        """
        block = self.blocks[index]
        hidden = self._self_attention(block.attention, hidden, mask, rows)
        if key_value is not None:
            query = split_heads(block.crossattention.self.query(hidden), self.heads)
            context = attention(query, *key_value, key_mask).transpose(1, 2).flatten(2)
            records.keep(index, query, key_value, context)
            hidden = block.crossattention.output(context, hidden)
        return block.feed_forward_chunk(hidden)

    def _self_attention(self, module: Any, hidden: Tensor, mask: Tensor | None, rows: int | None) -> Tensor:
        queried = hidden[:, :rows]
        query = split_heads(module.self.query(queried), self.heads)
        key = split_heads(module.self.key(hidden), self.heads)
        value = split_heads(module.self.value(hidden), self.heads)
        context = attention(query, key, value, mask)
        return module.output(context.transpose(1, 2).flatten(2), queried)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, T, D) -> (B, heads, T, d)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(QKᵀ/√d)V of (B, heads, T, d) and (B', heads, N, d), B or B' may be 1; mask: (B', N) bool of real keys.

    The fused kernel without a graph, plain products with one (the kernel's CPU backward is slow).
    """
    batch = max(query.shape[0], key.shape[0])
    query, key, value = (x.expand(batch, -1, -1, -1) for x in (query, key, value))
    wide = None if mask is None or bool(mask.all()) else mask[:, None, None]
    if not torch.is_grad_enabled():
        return F.scaled_dot_product_attention(query, key, value, attn_mask=wide)
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    if wide is not None:
        scores = scores.masked_fill(~wide, -torch.inf)
    return scores.softmax(dim=-1) @ value
