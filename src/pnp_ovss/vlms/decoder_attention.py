"""Attention of a decoder, seen through transformers' `AttentionInterface`: every layer's query, key and value pass here.

The model runs unchanged, without a hook. Of the asked layers the probabilities of the text's rows over the image's
columns are kept, and the context (what attention hands on) becomes the leaf of the graph, so that ∂/∂P = ∂/∂C · Vᵀ.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pnp_ovss.config import Gradient
from pnp_ovss.vlms.base import Found, Head, at_least_float32, head_index, objective_grads

NAME = "pnp_ovss"
"""Of the attention function among transformers' own."""


class Watch:
    """One forward pass: the asked layers (from 1), and which keys are the image's.

    image: the columns of the image's tokens; text: the last so many queries are the text's rows. hidden: columns of
    removed patches, which nobody sees but themselves. head: of which probabilities are kept.
    """

    def __init__(
        self,
        image: slice,
        hidden: Tensor | None = None,
        *,
        text: int = 0,
        layers: Sequence[int] = (),
        head: Head = "mean",
        gradient: Gradient = "none",
    ) -> None:
        self.image, self.hidden, self.text = image, hidden, text
        self.layers, self.head, self.gradient = tuple(layers), head, gradient
        self.seen: set[int] = set()
        self._probs: dict[int, Tensor] = {}
        self._values: dict[int, Tensor] = {}
        self._contexts: dict[int, Tensor] = {}

    def __call__(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        scale: float,
        cap: float | None,
    ) -> Tensor:
        """softmax(QKᵀ)V (B, heads, Q, d) of one layer (from 1); the query heads count where keys are shared by several."""
        self.seen.add(layer)
        mask = self._without_hidden(mask, query.shape[2], key.shape[2], query.device)
        if layer not in self.layers and not torch.is_grad_enabled() and cap is None:
            groups = query.shape[1] // key.shape[1]
            key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
            return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
        probs = _probabilities(query, key, mask, scale, cap)
        context = (_by_key_head(probs, key.shape[1]) @ value).reshape(*query.shape[:3], value.shape[-1])
        if layer in self.layers:
            self._probs[layer] = probs[0, head_index(self.head), -self.text :, self.image].detach().clone()
            self._values[layer] = value[:1, :, self.image].detach()
            if self.gradient != "none" and not context.requires_grad:
                torch.set_grad_enabled(True)  # until the pass ends: below this layer there is no graph
                context = context.detach().requires_grad_()
            self._contexts[layer] = context
        return context

    def read(self, logits: Tensor) -> Found:
        """Probabilities and gradients of the asked layers. logits: (1, 2) of this pass."""
        grads = objective_grads(logits, self.gradient, [self._contexts[layer] for layer in self.layers])
        found: Found = {}
        for layer, grad in zip(self.layers, grads, strict=True):
            each = None if grad is None else _products(grad[:1, :, -self.text :], self._values[layer])
            found[layer] = (self._probs[layer], None if each is None else each[0, head_index(self.head)])
        return found

    def _without_hidden(self, mask: Tensor | None, queries: int, keys: int, device: torch.device) -> Tensor | None:
        if self.hidden is None or not len(self.hidden):
            return mask
        own = torch.arange(keys, device=device) == torch.arange(keys - queries, keys, device=device)[:, None]
        seen = torch.ones(queries, keys, dtype=torch.bool, device=device)
        seen[:, self.hidden] = False
        seen = (seen | own)[None, None]
        return seen if mask is None else mask & seen


def _by_key_head(rows: Tensor, heads: int) -> Tensor:
    """(B, query heads, Q, ...) to (B, key heads, groups·Q, ...): heads that share keys are multiplied at once, without copies."""
    return rows.unflatten(1, (heads, -1)).flatten(2, 3)


def _products(query: Tensor, key: Tensor) -> Tensor:
    """(B, query heads, Q, d) by (B, key heads, K, d): (B, query heads, Q, K)."""
    found = _by_key_head(query, key.shape[1]) @ key.transpose(-1, -2)
    return found.reshape(*query.shape[:3], key.shape[2])


def _probabilities(query: Tensor, key: Tensor, mask: Tensor | None, scale: float, cap: float | None) -> Tensor:
    """(B, heads, Q, K); `cap` bends scores to ±cap (Gemma 2). mask: bool, True = seen."""
    scores = at_least_float32(_products(query, key)) * scale
    scores = scores if cap is None else cap * (scores / cap).tanh()
    scores = scores if mask is None else scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(dim=-1).to(query.dtype)


_watching: ContextVar[Watch] = ContextVar("watching")


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """What transformers calls in each layer."""
    scale = options.get("scaling") or query.shape[-1] ** -0.5
    layer = int(module.layer_idx) + 1  # ty: ignore[invalid-argument-type]
    context = _watching.get()(layer, query, key, value, attention_mask, scale, options.get("softcap"))
    return context.transpose(1, 2).contiguous(), None


def _mask(**options: Any) -> Tensor | None:
    """The mask of every pass written out, bool, True = seen: a causal one must not be left to a flag."""
    from transformers.masking_utils import sdpa_mask

    options["allow_is_causal_skip"] = False
    return sdpa_mask(**options)


@contextmanager
def watching(config: Any, watch: Watch) -> Generator[None]:
    """The decoder of this configuration attends through `watch` inside the block, without a graph until an asked layer."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, _mask)
    before, token = config._attn_implementation, _watching.set(watch)
    config._attn_implementation = NAME
    try:
        with torch.no_grad():
            yield
    finally:
        config._attn_implementation = before
        _watching.reset(token)


@contextmanager
def frozen(model: nn.Module) -> Generator[None]:
    """No parameter takes part in a graph inside the block; each one's own flag is restored after it."""
    free = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in free:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in free:
            parameter.requires_grad_(True)
