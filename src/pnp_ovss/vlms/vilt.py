"""ViLT (Kim et al. 2021): one transformer over text and patches; beyond the paper, the map is defined here.

There is no cross-attention module; text-to-image attention is the block of the self-attention with text tokens as rows
and patches as columns. Its rows sum to less than 1, the rest goes to text tokens and [CLS]. The published retrieval
head gives one matching score and no "no match": the logits are (0, score), so that their softmax is sigmoid(score). It
was trained as a ranking score, so a match probability of 0.5 has no meaning of its own: prefer policies all and file.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pnp_ovss.checkpoint import read_config
from pnp_ovss.config import Gradient, Precision
from pnp_ovss.presets import ModelPreset
from pnp_ovss.vlms.base import Found, Head
from pnp_ovss.vlms.checkpoints.strict import expect_heads, expect_vocabulary, load_pretrained
from pnp_ovss.vlms.cross_attention import CrossAttentionVLM, Parts
from pnp_ovss.vlms.encoders.bert_blocks import Records, attention, split_heads
from pnp_ovss.vlms.encoders.text_stream import CrossModalStream
from pnp_ovss.vlms.encoders.vision_stream import embed_patches, resize_positions
from pnp_ovss.vlms.encoders.wordpiece import WordPieceTokenizer

VOCABULARY_SIZE = 30522


class JointStream(CrossModalStream):
    """The joint transformer and its ranking head; an image's tokens (1, 1 + N', D) are its input embeddings.

    Its state: hidden (B, T + M, D) and the mask.
    """

    texts_at_once = 16
    """Every text runs the whole transformer with all patches."""

    def __init__(self, model: Any) -> None:
        self.embeddings = model.vilt.embeddings
        self.blocks = model.vilt.encoder.layer
        self.depth = len(self.blocks)
        self.norm = model.vilt.layernorm
        self.pooler = model.vilt.pooler
        self.itm_head: nn.Linear = model.rank_output
        self.heads = int(self.blocks[0].attention.attention.num_attention_heads)
        self.cross_layers = tuple(range(1, self.depth + 1))
        self.max_tokens = int(self.embeddings.text_embeddings.position_embeddings.num_embeddings)

    @torch.no_grad()
    def image_tokens(self, pixels: Tensor, visible: Tensor | None) -> Tensor:
        """(1, 3, S_h, S_w) normalised -> (1, 1 + N', D), [CLS] first; no transformer layer runs yet."""
        embeddings = self.embeddings
        table, convolution = embeddings.position_embeddings, embeddings.patch_embeddings.projection
        positions_of = partial(resize_positions, table, mode="bilinear", align_corners=True)
        joint = embed_patches(convolution, pixels, embeddings.cls_token, positions_of, visible)
        return joint + embeddings.token_type_embeddings.weight[1]

    def enter(self, image: Tensor, ids: Tensor, mask: Tensor) -> Any:
        """Text first, then the image."""
        words = self.embeddings.text_embeddings(input_ids=ids) + self.embeddings.token_type_embeddings.weight[0]
        return torch.cat([words, image.expand(len(ids), -1, -1)], dim=1), mask

    def layer(self, index: int, state: Any, records: Records) -> Any:
        """The last layer only where it is read, but for an asked one."""
        hidden, mask = state
        keys = torch.cat([mask, mask.new_ones(len(mask), hidden.shape[1] - mask.shape[1])], dim=1)
        block, inner = self.blocks[index], self.blocks[index].attention.attention
        last = index == self.depth - 1 and index not in records
        normed = block.layernorm_before(hidden)
        query = split_heads(inner.query(normed[:, :1] if last else normed), self.heads)
        key_value = split_heads(inner.key(normed), self.heads), split_heads(inner.value(normed), self.heads)
        context = attention(query, *key_value, keys).transpose(1, 2).flatten(2)
        records.keep(index, query[:, :, : mask.shape[1]], key_value, context)
        hidden = (hidden[:, :1] if last else hidden) + block.attention.output.dense(context)
        return block.output(block.intermediate(block.layernorm_after(hidden)), hidden), mask

    def logits(self, state: Any) -> Tensor:
        """No match: 0; match: the head's score."""
        score = self.itm_head(self.pooler(self.norm(state[0][:, :1])))
        return torch.cat([score.new_zeros(len(score), 1), score], dim=1)

    def read(self, state: Any, records: Records, logits: Tensor, head: Head, gradient: Gradient) -> Found:
        """The columns of the image."""
        found, text = records.read(logits, head, gradient), state[1].shape[1]
        return {
            layer: (probs[..., text:], None if grad is None else grad[..., text:])
            for layer, (probs, grad) in found.items()
        }


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
