"""BLIP-2's Q-Former with its matching head (Li et al. 2023); beyond the paper, the map is defined here.

No text token of BLIP-2 looks at the image: 32 query tokens do, in every second layer, and text and queries look at
each other in every layer. The map of text token t at cross-attention layer L is therefore a product of two
attentions: S(t, q), how much t looks at query q in layer L + 1 (the first that reads what the queries took from the
image; mean over heads), and X(q, n), how much q looks at patch n in layer L, head h:

    A(t, n) = Σ_q S(t, q) X(q, n)

Its gradient is the mean of ∂(match)/∂X(q, n) over the queries, weighted by their part of A(t, n), so that
A ⊗ G = Σ_q S(t, q) X(q, n) ∂(match)/∂X(q, n).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pnp_ovss.checkpoint import read_config
from pnp_ovss.config import Gradient, Precision
from pnp_ovss.errors import ModelError
from pnp_ovss.presets import ModelPreset
from pnp_ovss.vlms.base import Found, Head, layer_index
from pnp_ovss.vlms.checkpoints.strict import expect_heads, expect_vocabulary, load_pretrained
from pnp_ovss.vlms.cross_attention import CrossAttentionVLM, Parts
from pnp_ovss.vlms.encoders.bert_blocks import Records, attention, split_heads
from pnp_ovss.vlms.encoders.text_stream import CrossModalStream
from pnp_ovss.vlms.encoders.vision_stream import VisionStream
from pnp_ovss.vlms.encoders.wordpiece import WordPieceTokenizer

VOCABULARY_SIZES = (30522, 30523, 30524)
"""BERT's, with [DEC], and with an image token that transformers added later."""


class QueryStream(CrossModalStream):
    """The Q-Former and its matching head, which reads the mean of all query tokens.

    Its state: hidden (B, Q + T, D), mask, the image and S of the asked layers by index.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.itm_head: nn.Linear = model.itm_head
        self.blocks = model.qformer.encoder.layer
        self.depth = len(self.blocks)
        self.queries = int(model.query_tokens.shape[1])
        self.heads = int(self.blocks[0].attention.attention.num_attention_heads)
        self.cross_layers = tuple(i for i, b in enumerate(self.blocks, 1) if b.has_cross_attention and i < self.depth)
        self.max_tokens = int(model.embeddings.position_embeddings.num_embeddings)

    def enter(self, image: Tensor, ids: Tensor, mask: Tensor) -> Any:
        """Queries first, then the text."""
        queries = self.model.query_tokens.expand(len(ids), -1, -1)
        hidden = self.model.qformer.layernorm(self.model.embeddings(input_ids=ids, query_embeds=queries))
        return hidden, mask, image, {}

    def layer(self, index: int, state: Any, records: Records) -> Any:
        """After an asked layer S is taken, from the next one."""
        hidden, mask, image, shares = state
        hidden = self._block(index, hidden, mask, image, records)
        if index in records:
            shares = shares | {index: self._text_to_queries(index + 1, hidden)}
        return hidden, mask, image, shares

    def logits(self, state: Any) -> Tensor:
        """The head's mean over the queries."""
        return self.itm_head(state[0][:, : self.queries]).mean(dim=1)

    def read(self, state: Any, records: Records, logits: Tensor, head: Head, gradient: Gradient) -> Found:
        """Composed attention and gradient."""
        found = records.read(logits, head, gradient)
        return {layer: _compose(state[3][layer_index(layer)], *found[layer]) for layer in records.layers}

    def _block(self, index: int, hidden: Tensor, mask: Tensor, image: Tensor, records: Records) -> Tensor:
        """One layer: (B, Q + T, D) -> the same; only the queries look at the image (1, M, D_v)."""
        block = self.blocks[index]
        keys = torch.cat([mask.new_ones(len(mask), self.queries), mask], dim=1)
        inner = block.attention.attention
        parts = [split_heads(layer(hidden), self.heads) for layer in (inner.query, inner.key, inner.value)]
        hidden = block.attention.output(attention(*parts, keys).transpose(1, 2).flatten(2), hidden)
        queries, words = hidden[:, : self.queries], hidden[:, self.queries :]
        if block.has_cross_attention:
            inner = block.crossattention.attention
            query = split_heads(inner.query(queries), self.heads)
            key_value = split_heads(inner.key(image), self.heads), split_heads(inner.value(image), self.heads)
            context = attention(query, *key_value).transpose(1, 2).flatten(2)
            records.keep(index, query, key_value, context)
            queries = block.crossattention.output(context, queries)
        return torch.cat([block.feed_forward_chunk_query(queries), block.feed_forward_chunk(words)], dim=1)

    @torch.no_grad()
    def _text_to_queries(self, index: int, hidden: Tensor) -> Tensor:
        """S (T, Q): the attention of the first text's tokens to the queries in layer `index`, mean over heads."""
        inner = self.blocks[index].attention.attention
        query = split_heads(inner.query(hidden[:1, self.queries :]), self.heads)
        key = split_heads(inner.key(hidden[:1]), self.heads)
        scores = (query @ key.transpose(-1, -2)) / query.shape[-1] ** 0.5
        return scores.softmax(dim=-1)[0, :, :, : self.queries].mean(dim=0)


def _compose(share: Tensor, looks: Tensor, grad: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """A (heads, T, M) of S (T, Q) and X (heads, Q, M), and the weighted mean of X's gradient."""
    probs = share @ looks
    if grad is None:
        return probs, None
    return probs, (share @ (looks * grad)) / probs.clamp(min=torch.finfo(probs.dtype).tiny)


class Blip2VLM(CrossAttentionVLM):
    """A `Blip2ForImageTextRetrieval` of transformers behind the adapter protocol."""

    name = "blip2"

    def check(self) -> None:
        """The heads of both sides, the word table, and that the Q-Former reads text at all."""
        former, vision = self.model.config.qformer_config, self.model.config.vision_config
        if not former.use_qformer_text_input:
            raise ModelError(
                f"{self.name}: use_qformer_text_input is false, so the Q-Former has no text side; use an ITM checkpoint"
            )
        expect_heads(self.name, former.num_attention_heads, former.hidden_size, "qformer num_attention_heads")
        heads, width = vision.num_attention_heads, vision.hidden_size
        expect_heads(self.name, heads, width, "vision num_attention_heads", head_width=88)
        expect_vocabulary(self.name, self.model.embeddings.word_embeddings.num_embeddings, VOCABULARY_SIZES)

    def parts(self) -> Parts:
        """A vision tower, and the Q-Former that looks at its output."""
        self.vision = VisionStream(self.model.vision_model)
        return Parts(QueryStream(self.model), self.model.vision_model, self.vision.patch_px)

    def tokens_of(self, pixels: Tensor, visible: Tensor | None) -> Tensor:
        """(1, 1 + N', D_v), [CLS] first."""
        return self.vision(pixels, visible)


def load_blip2(preset: ModelPreset, folder: Path, *, precision: Precision = "float32") -> Blip2VLM:
    """Load a BLIP-2 matching checkpoint from a folder of transformers' layout."""
    from transformers import Blip2Config, Blip2ForImageTextRetrieval

    config = Blip2Config.from_dict(read_config(folder, "blip-2"))
    model = load_pretrained(Blip2ForImageTextRetrieval, folder, config)
    return Blip2VLM(model, WordPieceTokenizer.from_folder(folder), name=preset.name, precision=precision)
