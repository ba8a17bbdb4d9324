"""The text encoder of the BLIP family, run on transformers' weights, with the attention and gradient of any layer.

transformers' `BlipTextModel` is eager only and shares nothing between prompts. Here the image's keys and values are
projected once for all prompts; no graph exists below the asked layer; its leaf is the layer's context C = P V, from
which P_h = softmax(Q_h K_hᵀ/√d) and ∂/∂P_h = (∂/∂C_h) V_hᵀ follow without keeping a (heads, T, N) tensor; and the
last layer computes row 0 only, which is all the matching head reads. Equal to the plain model (tests).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pnp_ovss.config import Gradient
from pnp_ovss.vlms.base import Found, Head, layer_index
from pnp_ovss.vlms.encoders.bert_blocks import BertBlocks, KeyValue, Records


class CrossModalStream:
    """An adapter's text side: layers in which token ids meet one image's tokens; logits, attention and gradient of it.

    A family says how the layers are entered, what one of them does and how the last one is read; the state that they hand on
    is its own. cross_layers: those (from 1) with cross-attention. depth: of all layers. texts_at_once: in one pass, None = all.
    """

    cross_layers: tuple[int, ...]
    depth: int
    heads: int
    max_tokens: int
    itm_head: nn.Linear
    texts_at_once: int | None = None

    def enter(self, image: Tensor, ids: Tensor, mask: Tensor) -> Any:
        """The state before the first layer. image: the adapter's tokens; ids: (B, T); mask: (B, T) bool, True = token."""
        raise NotImplementedError("a family's stream defines enter()")

    def layer(self, index: int, state: Any, records: Records) -> Any:
        """The state after a layer, which leaves its parts in `records` where it is asked for."""
        raise NotImplementedError("a family's stream defines layer()")

    def logits(self, state: Any) -> Tensor:
        """Matching logits (B, 2) of the state after the last layer."""
        raise NotImplementedError("a family's stream defines logits()")

    def read(self, state: Any, records: Records, logits: Tensor, head: Head, gradient: Gradient) -> Found:  # noqa: ARG002
        """What `attend` gives of the asked layers."""
        return records.read(logits, head, gradient)

    @torch.no_grad()
    def match(self, image: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Matching logits (B, 2). image: the adapter's tokens of one image; ids: (B, T); mask: (B, T) bool, True = token."""
        count = self.texts_at_once or len(ids)
        chunks = zip(ids.split(count), mask.split(count), strict=True)
        states = (self.run(self.enter(image, *chunk), Records(), range(self.depth)) for chunk in chunks)
        return torch.cat([self.logits(state) for state in states])

    def attend(
        self, image: Tensor, ids: Tensor, mask: Tensor, *, layers: Sequence[int], head: Head, gradient: Gradient
    ) -> tuple[Tensor, Found]:
        """Logits (B, 2) and, per layer (from 1), probabilities and gradients (B, heads, T, M); grad None for `none`.

        B = 1: ids (1, T) and mask as in `match`. A `TextStream` takes B images (B, M, D_v), each with its own text.
        """
        records = Records(layers)
        with torch.no_grad():
            state = self.run(self.enter(image, ids, mask), records, range(records.lowest))
        with torch.set_grad_enabled(gradient != "none"):
            state = self.run(state, records, range(records.lowest, self.depth))
            logits = self.logits(state)
        return logits.detach(), self.read(state, records, logits, head, gradient)

    def run(self, state: Any, records: Records, indices: range) -> Any:
        """The state after these layers."""
        for index in indices:
            state = self.layer(index, state, records)
        return state


class TextStream(CrossModalStream):
    """A `BlipTextModel` and its matching head. Its state: hidden (B, T, D), mask, keys and values of the image."""

    def __init__(self, text_model: Any, itm_head: nn.Linear) -> None:
        self.embeddings = text_model.embeddings
        self.layers = BertBlocks(text_model.encoder.layer)
        self.itm_head = itm_head
        self.depth = len(self.layers)
        self.heads = self.layers.heads
        self.cross_layers = self.layers.cross_layers
        self.max_tokens = int(self.embeddings.position_embeddings.weight.shape[0])

    def enter(self, image: Tensor, ids: Tensor, mask: Tensor) -> Any:
        """image: (1, M, D_v), or one for each text (B, M, D_v)."""
        return self.embeddings(ids), mask, self._keys_values(image)

    def layer(self, index: int, state: Any, records: Records) -> Any:
        """The last layer only where it is read, but for an asked one."""
        hidden, mask, keys_values = state
        rows = 1 if index == self.depth - 1 and index not in records else None
        return self.layers.run(index, hidden, mask, keys_values.get(index), records, rows=rows), mask, keys_values

    def logits(self, state: Any) -> Tensor:
        """The head on position 0."""
        return self.itm_head(state[0][:, 0])

    @torch.no_grad()
    def match_photos(self, photos: Tensor, texts: Sequence[Tensor]) -> Tensor:
        """Matching logits (P, len(texts), 2) of photos (P, M, D_v) with each of several texts, ids (1, T)."""
        keys_values = self._keys_values(photos)
        states = [(self.embeddings(ids), torch.ones_like(ids, dtype=torch.bool), keys_values) for ids in texts]
        return torch.stack([self.logits(self.run(state, Records(), range(self.depth))) for state in states], dim=1)

    def _keys_values(self, image: Tensor) -> dict[int, KeyValue]:
        """Key and value (1 or B, heads, M, d) of every cross-attention layer, by index."""
        indices = [layer_index(layer) for layer in self.cross_layers]
        return {index: self.layers.key_value(index, image) for index in indices}
