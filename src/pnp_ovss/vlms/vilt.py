"""ViLT (Kim et al. 2021): one transformer over text and patches; beyond the paper, the map is defined here.

There is no cross-attention module; text-to-image attention is the block of the self-attention with text tokens as rows
and patches as columns. Its rows sum to less than 1, the rest goes to text tokens and [CLS]. The published retrieval
head gives one matching score and no "no match": the logits are (0, score), so that their softmax is sigmoid(score). It
was trained as a ranking score, so a match probability of 0.5 has no meaning of its own: prefer policies all and file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pnp_ovss.checkpoint import read_config
from pnp_ovss.config import Gradient, Precision
from pnp_ovss.presets import ModelPreset
from pnp_ovss.vlms.base import Head, at_least_float32
from pnp_ovss.vlms.checkpoints.strict import expect_heads, expect_vocabulary, load_pretrained
from pnp_ovss.vlms.cross_attention import CrossAttentionVLM, Parts
from pnp_ovss.vlms.encoders.bert_blocks import Found, Records, attention, split_heads
from pnp_ovss.vlms.encoders.wordpiece import WordPieceTokenizer

if TYPE_CHECKING:
    pass

VOCABULARY_SIZE = 30522
TEXTS_AT_ONCE = 16
"""Every text runs the whole transformer with all patches."""


class JointStream:
    """The joint transformer and its ranking head; an image's tokens (1, 1 + N', D) are its input embeddings."""

    def __init__(self, model: Any) -> None:
        self.embeddings = model.vilt.embeddings
        self.blocks = model.vilt.encoder.layer
        self.norm = model.vilt.layernorm
        self.pooler = model.vilt.pooler
        self.itm_head: nn.Linear = model.rank_output
        self.heads = int(self.blocks[0].attention.attention.num_attention_heads)
        self.cross_layers = tuple(range(1, len(self.blocks) + 1))
        self.max_tokens = int(self.embeddings.text_embeddings.position_embeddings.num_embeddings)

    @torch.no_grad()
    def image_tokens(self, pixels: Tensor, visible: Tensor | None) -> Tensor:
        """(1, 3, S_h, S_w) normalised -> (1, 1 + N', D), [CLS] first; no transformer layer runs yet."""
        projection = self.embeddings.patch_embeddings.projection
        patches = projection(pixels.to(projection.weight.dtype))
        table = self.embeddings.position_embeddings
        side = int((table.shape[1] - 1) ** 0.5)
        square = at_least_float32(table[:, 1:]).unflatten(1, (side, side)).permute(0, 3, 1, 2)
        positions = F.interpolate(square, size=patches.shape[2:], mode="bilinear", align_corners=True)
        tokens = (patches + positions.to(patches)).flatten(2).transpose(1, 2)
        tokens = tokens if visible is None else tokens[:, visible]
        joint = torch.cat([self.embeddings.cls_token + table[:, :1], tokens], dim=1)
        return joint + self.embeddings.token_type_embeddings.weight[1]

    @torch.no_grad()
    def match(self, image: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Matching logits (B, 2). image: (1, M, D); ids: (B, T); mask: (B, T) bool, True = token."""
        chunks = zip(ids.split(TEXTS_AT_ONCE), mask.split(TEXTS_AT_ONCE), strict=True)
        return torch.cat([self._logits(self._run(self._join(i, image), m, Records()), m) for i, m in chunks])

    def attend(
        self, image: Tensor, ids: Tensor, layers: Sequence[int], head: Head, gradient: Gradient
    ) -> tuple[Tensor, Found]:
        """Logits (1, 2) and, per layer (from 1), probabilities and gradients (heads, T, M); grad None for `none`."""
        records = Records(layers)
        mask = torch.ones_like(ids, dtype=torch.bool)
        length = ids.shape[1]
        with torch.no_grad():
            hidden = self._run(self._join(ids, image), mask, records, range(records.lowest))
        with torch.set_grad_enabled(gradient != "none"):
            logits = self._logits(self._run(hidden, mask, records, range(records.lowest, len(self.blocks))), mask)
        found = records.read(logits, head, gradient)
        columns = {
            layer: (probs[..., length:], None if grad is None else grad[..., length:])
            for layer, (probs, grad) in found.items()
        }
        return logits.detach(), columns

    def _join(self, ids: Tensor, image: Tensor) -> Tensor:
        """Text first, then the image: (B, T + M, D)."""
        words = self.embeddings.text_embeddings(input_ids=ids) + self.embeddings.token_type_embeddings.weight[0]
        return torch.cat([words, image.expand(len(ids), -1, -1)], dim=1)

    def _run(self, hidden: Tensor, mask: Tensor, records: Records, indices: range | None = None) -> Tensor:
        keys = torch.cat([mask, mask.new_ones(len(mask), hidden.shape[1] - mask.shape[1])], dim=1)
        for index in indices if indices is not None else range(len(self.blocks)):
            block, inner = self.blocks[index], self.blocks[index].attention.attention
            last = index == len(self.blocks) - 1 and index not in records
            normed = block.layernorm_before(hidden)
            query = split_heads(inner.query(normed[:, :1] if last else normed), self.heads)
            key_value = split_heads(inner.key(normed), self.heads), split_heads(inner.value(normed), self.heads)
            context = attention(query, *key_value, keys).transpose(1, 2).flatten(2)
            records.keep(index, query[:, :, : mask.shape[1]], key_value, context)
            hidden = (hidden[:, :1] if last else hidden) + block.attention.output.dense(context)
            hidden = block.output(block.intermediate(block.layernorm_after(hidden)), hidden)
        return hidden

    def _logits(self, hidden: Tensor, mask: Tensor) -> Tensor:
        score = self.itm_head(self.pooler(self.norm(hidden[:, :1])))
        return torch.cat([score.new_zeros(len(mask), 1), score], dim=1)


class ViltVLM(CrossAttentionVLM):
    """A `ViltForImageAndTextRetrieval` of transformers behind the adapter protocol."""

    name = "vilt"
    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)

    def check(self) -> None:
        """The heads and the word table."""
        config = self.model.config
        expect_heads(self.name, config.num_attention_heads, config.hidden_size, "num_attention_heads")
        expect_vocabulary(self.name, config.vocab_size, [VOCABULARY_SIZE])

    def parts(self) -> Parts:
        """One transformer for both."""
        self.stream = JointStream(self.model)
        return Parts(self.stream, None, int(self.model.config.patch_size))

    def tokens_of(self, pixels: Tensor, visible: Tensor | None) -> Tensor:
        """(1, 1 + N', D) input tokens of the joint transformer: no layer has run yet."""
        return self.stream.image_tokens(pixels, visible)


def load_vilt(preset: ModelPreset, folder: Path, *, precision: Precision = "float32") -> ViltVLM:
    """Load a ViLT retrieval checkpoint from a folder of transformers' layout; `rank_output` must be in it."""
    from transformers import ViltConfig, ViltForImageAndTextRetrieval

    config = ViltConfig.from_dict(read_config(folder, "vilt"))
    model = load_pretrained(ViltForImageAndTextRetrieval, folder, config)
    return ViltVLM(model, WordPieceTokenizer.from_folder(folder), name=preset.name, precision=precision)
