"""BridgeTower (Xu et al. 2022): CLIP and RoBERTa towers, bridged into six pairs of cross-modal layers.

The paper's map for it is ours by analogy, as no BridgeTower code was published: the cross-attention of the text side
of a pair (text = query, image = key). transformers' own attention output is the self-attention, its fused kernel
gives wrong logits here (a causal flag), and its processor crops; all three are avoided by running the layers
ourselves. Both towers are independent of the other modality, so that an image is encoded once for all prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pnp_ovss.config import Gradient, Precision
from pnp_ovss.errors import ModelError
from pnp_ovss.presets import ModelPreset
from pnp_ovss.vlms.base import Head, ImageFeatures, evaluating, layer_index
from pnp_ovss.vlms.bert_blocks import BertBlocks, Found, Records, read_records
from pnp_ovss.vlms.blip import CLIP_MEAN, CLIP_STD, CrossAttentionVLM
from pnp_ovss.vlms.bpe import BpeTokenizer
from pnp_ovss.vlms.checkpoint import expect_heads, expect_vocabulary, load_pretrained, read_config
from pnp_ovss.vlms.clip_stream import ClipStream

if TYPE_CHECKING:
    from transformers import BridgeTowerForImageAndTextRetrieval

VOCABULARY_SIZE = 50265
TEXTS_AT_ONCE = 8
"""Every text runs the whole image side of the cross-modal layers; more at once only costs memory."""


class BridgeStream:
    """The cross-modal layers, their bridges and the matching head.

    An image's tokens are (pairs, M, D): one state of the vision tower for each pair of layers.
    """

    def __init__(self, model: Any) -> None:
        tower = model.bridgetower
        self.tower = tower
        self.itm_head: nn.Linear = model.itm_score.fc
        self.text_tower = BertBlocks(tower.text_model.encoder.layer)
        self.text_side = BertBlocks(tower.cross_modal_text_layers)
        self.image_side = BertBlocks(tower.cross_modal_image_layers)
        self.heads = self.text_side.heads
        self.cross_layers = self.text_side.cross_layers
        # RoBERTa's positions start after its padding id.
        positions = tower.text_model.embeddings
        self.max_tokens = int(positions.position_embeddings.num_embeddings) - int(positions.padding_idx) - 1

    @torch.no_grad()
    def image_states(self, states: Sequence[Tensor]) -> Tensor:
        """The vision tower's states (1, M, D_v) as the cross-modal layers meet them: (pairs, M, D)."""
        kind = self.tower.token_type_embeddings.weight[1]
        moved = [self.tower._apply_image_transform(s.to(kind.dtype), i) + kind for i, s in enumerate(states)]
        moved[0] = self.tower.cross_modal_image_layernorm(moved[0])
        return torch.cat(moved)

    @torch.no_grad()
    def match(self, image: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Matching logits (B, 2). image: (pairs, M, D); ids: (B, T); mask: (B, T) bool, True = token."""
        chunks = zip(ids.split(TEXTS_AT_ONCE), mask.split(TEXTS_AT_ONCE), strict=True)
        return torch.cat([self._run(image, self._text_states(i, m), m, {}, range(len(image))) for i, m in chunks])

    def attend(
        self, image: Tensor, ids: Tensor, layers: Sequence[int], head: Head, gradient: Gradient
    ) -> tuple[Tensor, Found]:
        """Logits (1, 2) and, per layer (from 1), probabilities and gradients (heads, T, M); grad None for `none`."""
        records: Records = {layer_index(layer): None for layer in layers}
        lowest = min(records)
        mask = torch.ones_like(ids, dtype=torch.bool)
        with torch.no_grad():
            texts = self._text_states(ids, mask)
            streams = None
            for index in range(lowest):
                streams = self._pair(index, image, texts[index], streams, mask, records)
        with torch.set_grad_enabled(gradient != "none"):
            logits = self._run(image, texts, mask, records, range(lowest, len(image)), streams)
        return logits.detach(), read_records(logits, records, layers, head, gradient)

    def _text_states(self, ids: Tensor, mask: Tensor) -> list[Tensor]:
        """The text tower's states (B, T, D) as the cross-modal layers meet them, one for each pair."""
        hidden, states = self.tower.text_model.embeddings(input_ids=ids), []
        first = len(self.text_tower) - len(self.text_side)
        for index in range(len(self.text_tower)):
            hidden = self.text_tower.run(index, hidden, mask, None)
            if index >= first:
                states.append(hidden)
        kind = self.tower.token_type_embeddings.weight[0]
        moved = [self.tower._apply_text_transform(s, i) + kind for i, s in enumerate(states)]
        moved[0] = self.tower.cross_modal_text_layernorm(moved[0])
        return moved

    def _run(
        self,
        image: Tensor,
        texts: Sequence[Tensor],
        mask: Tensor,
        records: Records,
        indices: range,
        streams: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """The pairs of layers `indices`, then both poolers and the matching head: logits (B, 2)."""
        for index in indices:
            streams = self._pair(index, image, texts[index], streams, mask, records)
        assert streams is not None
        pooled = [self.tower.cross_modal_text_pooler(streams[0]), self.tower.cross_modal_image_pooler(streams[1])]
        return self.itm_head(torch.cat([x.expand(len(mask), -1) for x in pooled], dim=-1))

    def _pair(
        self,
        index: int,
        image: Tensor,
        text: Tensor,
        streams: tuple[Tensor, Tensor] | None,
        mask: Tensor,
        records: Records,
    ) -> tuple[Tensor, Tensor]:
        """One pair: each side looks at the other as it was before; the last pair computes what the poolers read."""
        words, patches = text, image[index][None]
        if streams is not None:
            words = self.tower.cross_modal_text_link_tower[index - 1](words, streams[0], None)
            patches = self.tower.cross_modal_image_link_tower[index - 1](patches, streams[1], None)
        rows = 1 if index == len(self.text_side) - 1 else None
        asked = records if index in records else None
        seen = self.text_side.key_value(index, patches)
        read = self.image_side.key_value(index, words)
        new_words = self.text_side.run(index, words, mask, seen, asked, rows=None if asked else rows)
        return new_words, self.image_side.run(index, patches, None, read, rows=rows, key_mask=mask)


class BridgeTowerVLM(CrossAttentionVLM):
    """A `BridgeTowerForImageAndTextRetrieval` of transformers behind the adapter protocol."""

    mean = CLIP_MEAN
    std = CLIP_STD

    def __init__(
        self,
        model: BridgeTowerForImageAndTextRetrieval,
        tokenizer: BpeTokenizer,
        *,
        name: str = "bridgetower",
        precision: Precision = "float32",
    ) -> None:
        _check(model, name)
        tower: Any = model.bridgetower
        if precision != "float32":
            tower.vision_model.bfloat16()
        if precision == "bfloat16":
            model.bfloat16()
        self.stream = BridgeStream(model)
        super().__init__(name, model, self.stream, tokenizer)
        self.vision = ClipStream(tower.vision_model.visual)
        self.patch_px = self.size_step_px = self.vision.patch_px
        self.prefix_tokens = 1

    def encode(self, pixels: Tensor, kept: Tensor | None = None) -> ImageFeatures:
        """(3, S_h, S_w) normalised pixels to (pairs, 1 + N', D) tokens, in the text part's precision."""
        grid = (pixels.shape[1] // self.patch_px, pixels.shape[2] // self.patch_px)
        with evaluating(self.model):
            states = self.vision(pixels[None].to(self.device), kept, last=len(self.stream.text_side))
            return ImageFeatures(self.stream.image_states(states), grid, kept)


def _check(model: Any, name: str) -> None:
    config = model.config
    text, vision = config.text_config, config.vision_config
    expect_heads(name, text.num_attention_heads, text.hidden_size, "text num_attention_heads")
    expect_heads(name, config.num_attention_heads, config.hidden_size, "num_attention_heads")
    expect_vocabulary(name, text.vocab_size, [VOCABULARY_SIZE])
    blocks = len(model.bridgetower.vision_model.visual.transformer.resblocks)
    if blocks != text.num_hidden_layers or not vision.share_layernorm:
        raise ModelError(
            f"{name}: {blocks} vision blocks for {text.num_hidden_layers} text layers, share_layernorm = "
            f"{vision.share_layernorm}; the published checkpoints have as many of both and shared layer norms"
        )


def load_bridgetower(preset: ModelPreset, folder: Path, *, precision: Precision = "float32") -> BridgeTowerVLM:
    """Load a BridgeTower checkpoint from a folder of transformers' layout; `itm_score.fc` must be in it."""
    from transformers import BridgeTowerConfig, BridgeTowerForImageAndTextRetrieval

    config = BridgeTowerConfig.from_dict(read_config(folder, "bridgetower"))
    model = load_pretrained(BridgeTowerForImageAndTextRetrieval, folder, config, optional=("text_model.pooler",))
    return BridgeTowerVLM(model, BpeTokenizer.from_folder(folder), name=preset.name, precision=precision)
