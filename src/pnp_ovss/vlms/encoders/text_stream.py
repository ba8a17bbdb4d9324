"""The text encoder of the BLIP family, run on transformers' weights, with the attention and gradient of any layer.

transformers' `BlipTextModel` is eager only and shares nothing between prompts. Here the image's keys and values are
projected once for all prompts; no graph exists below the asked layer; its leaf is the layer's context C = P V, from
which P_h = softmax(Q_h K_hᵀ/√d) and ∂/∂P_h = (∂/∂C_h) V_hᵀ follow without keeping a (heads, T, N) tensor; and the
last layer computes row 0 only, which is all the matching head reads. Equal to the plain model (tests).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pnp_ovss.config import Gradient
from pnp_ovss.vlms.base import Head, layer_index
from pnp_ovss.vlms.encoders.bert_blocks import BertBlocks, Found, KeyValue, Records


class CrossModalStream(Protocol):
    """What an adapter's text side is: token ids and one image's tokens to logits, attention and gradient."""

    cross_layers: tuple[int, ...]
    heads: int
    max_tokens: int
    itm_head: nn.Linear

    def match(self, image: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Matching logits (B, 2). image: the adapter's tokens of one image; ids: (B, T); mask: (B, T) bool."""
        ...

    def attend(
        self, image: Tensor, ids: Tensor, layers: Sequence[int], head: Head, gradient: Gradient
    ) -> tuple[Tensor, Found]:
        """Logits (1, 2) and, per layer (from 1), probabilities and gradients (heads, T, M); grad None for `none`."""
        ...


class TextStream:
    """A `BlipTextModel` and its matching head, seen as a function of token ids and one image's tokens.

    cross_layers: which layers (from 1) have cross-attention, found from the modules.
    """

    def __init__(self, text_model: Any, itm_head: nn.Linear) -> None:
        self.embeddings = text_model.embeddings
        self.layers = BertBlocks(text_model.encoder.layer)
        self.itm_head = itm_head
        self.heads = self.layers.heads
        self.cross_layers = self.layers.cross_layers
        self.max_tokens = int(self.embeddings.position_embeddings.weight.shape[0])

    @torch.no_grad()
    def match(self, image: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Matching logits (B, 2). image: (1, M, D_v); ids, mask: (B, T), True = token."""
        return self._run(self.embeddings(ids), mask, self._keys_values(image), Records())

    @torch.no_grad()
    def match_photos(self, photos: Tensor, texts: Sequence[Tensor]) -> Tensor:
        """Matching logits (P, len(texts), 2) of photos (P, M, D_v) with each of several texts, ids (1, T)."""
        keys_values = self._keys_values(photos)
        masks = [torch.ones_like(ids, dtype=torch.bool) for ids in texts]
        found = [self._run(self.embeddings(i), m, keys_values, Records()) for i, m in zip(texts, masks, strict=True)]
        return torch.stack(found, dim=1)

    def attend(
        self, image: Tensor, ids: Tensor, layers: Sequence[int], head: Head, gradient: Gradient
    ) -> tuple[Tensor, Found]:
        """Logits (1, 2) and, per layer (from 1), probabilities and gradients (heads, T, M); grad None for `none`."""
        records = Records(layers)
        mask = torch.ones_like(ids, dtype=torch.bool)
        with torch.no_grad():
            keys_values = self._keys_values(image)
            hidden = self.embeddings(ids)
            for index in range(records.lowest):
                hidden = self.layers.run(index, hidden, mask, keys_values.get(index), records)
        with torch.set_grad_enabled(gradient != "none"):
            logits = self._run(hidden, mask, keys_values, records, start=records.lowest)
        return logits.detach(), records.read(logits, head, gradient)

    def _keys_values(self, image: Tensor) -> dict[int, KeyValue]:
        """Key and value (1, heads, M, d) of every cross-attention layer, by index."""
        indices = [layer_index(layer) for layer in self.cross_layers]
        return {index: self.layers.key_value(index, image) for index in indices}

    def _run(
        self,
        hidden: Tensor,
        mask: Tensor,
        keys_values: dict[int, KeyValue],
        records: Records,
        start: int = 0,
    ) -> Tensor:
        """Layers from `start` to the matching logits; the last one only where it is read, but for an asked layer."""
        last = len(self.layers) - 1
        for index in range(start, len(self.layers)):
            rows = 1 if index == last and index not in records else None
            hidden = self.layers.run(index, hidden, mask, keys_values.get(index), records, rows=rows)
        return self.itm_head(hidden[:, 0])
