"""BridgeTower (Xu et al. 2022): CLIP and RoBERTa towers, bridged into six pairs of cross-modal layers.

The paper's map for it is ours by analogy, as no BridgeTower code was published: the cross-attention of the text side
of a pair (text = query, image = key). transformers' own attention output is the self-attention, its fused kernel
gives wrong logits here (a causal flag), and its processor crops; all three are avoided by running the layers
ourselves. Both towers are independent of the other modality, so that an image is encoded once for all prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pnp_ovss.checkpoint import read_config
from pnp_ovss.config import Precision
from pnp_ovss.errors import ModelError
from pnp_ovss.presets import ModelPreset
from pnp_ovss.vlms.checkpoints.strict import expect_heads, expect_vocabulary, load_pretrained
from pnp_ovss.vlms.cross_attention import CrossAttentionVLM, Parts
from pnp_ovss.vlms.encoders.bert_blocks import BertBlocks, Records
from pnp_ovss.vlms.encoders.bpe import BpeTokenizer
from pnp_ovss.vlms.encoders.clip_stream import ClipStream
from pnp_ovss.vlms.encoders.text_stream import CrossModalStream

VOCABULARY_SIZE = 50265


@dataclass(frozen=True)
class Towers:
    """What both towers give the cross-modal layers, a state for each pair.

    image: (pairs, M, D). texts: pairs of (B, T, D). mask: (B, T) bool of real tokens.
    """

    image: Tensor
    texts: Sequence[Tensor]
    mask: Tensor


class BridgeStream(CrossModalStream):
    """The cross-modal layers, their bridges and the matching head.

    An image's tokens are (pairs, M, D): one state of the vision tower for each pair of layers. The state: the towers, words
    (B, T, D) and patches (B or 1, M, D).
    """

    texts_at_once = 8
    """Every text runs the whole image side of the cross-modal layers; more at once only costs memory."""

    def __init__(self, model: Any) -> None:
        tower = model.bridgetower
        self.tower = tower
        self.itm_head: nn.Linear = model.itm_score.fc
        self.text_tower = BertBlocks(tower.text_model.encoder.layer)
        self.text_side = BertBlocks(tower.cross_modal_text_layers)
        self.image_side = BertBlocks(tower.cross_modal_image_layers)
        self.depth = len(self.text_side)
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

    def enter(self, image: Tensor, ids: Tensor, mask: Tensor) -> Any:
        """The towers' first states enter the first pair."""
        towers = Towers(image, self._text_states(ids, mask), mask)
        return towers, towers.texts[0], image[:1]

    def layer(self, index: int, state: Any, records: Records) -> Any:
        """One pair: each side looks at the other as it was before; before each but the first a bridge adds the towers' states.

        The last pair computes what the poolers read.
        """
        towers, words, patches = state
        if index > 0:
            words = self.tower.cross_modal_text_link_tower[index - 1](towers.texts[index], words, None)
            patches = self.tower.cross_modal_image_link_tower[index - 1](towers.image[index][None], patches, None)
        rows = 1 if index == self.depth - 1 else None
        seen, read = self.text_side.key_value(index, patches), self.image_side.key_value(index, words)
        text_rows = None if index in records else rows
        new_words = self.text_side.run(index, words, towers.mask, seen, records, rows=text_rows)
        patches = self.image_side.run(index, patches, None, read, Records(), rows=rows, key_mask=towers.mask)
        return towers, new_words, patches

    def logits(self, state: Any) -> Tensor:
        """Both poolers and the matching head."""
        words, patches = self.tower.cross_modal_text_pooler(state[1]), self.tower.cross_modal_image_pooler(state[2])
        return self.itm_head(torch.cat([words, patches.expand(len(words), -1)], dim=-1))

    def _text_states(self, ids: Tensor, mask: Tensor) -> list[Tensor]:
        """The text tower's states (B, T, D) as the cross-modal layers meet them, one for each pair."""
        hidden, states = self.tower.text_model.embeddings(input_ids=ids), []
        first = len(self.text_tower) - self.depth
        for index in range(len(self.text_tower)):
            hidden = self.text_tower.run(index, hidden, mask, None, Records())
            if index >= first:
                states.append(hidden)
        kind = self.tower.token_type_embeddings.weight[0]
        moved = [self.tower._apply_text_transform(s, i) + kind for i, s in enumerate(states)]
        moved[0] = self.tower.cross_modal_text_layernorm(moved[0])
        return moved


class BridgeTowerVLM(CrossAttentionVLM):
    """A `BridgeTowerForImageAndTextRetrieval` of transformers behind the adapter protocol."""

    name = "bridgetower"

    def check(self) -> None:
        """The heads of the towers and of the pairs, the word table, and towers that fit each other."""
        config = self.model.config
        text, vision = config.text_config, config.vision_config
        expect_heads(self.name, text.num_attention_heads, text.hidden_size, "text num_attention_heads")
        expect_heads(self.name, config.num_attention_heads, config.hidden_size, "num_attention_heads")
        expect_vocabulary(self.name, text.vocab_size, [VOCABULARY_SIZE])
        blocks = len(self.model.bridgetower.vision_model.visual.transformer.resblocks)
        if blocks != text.num_hidden_layers or not vision.share_layernorm:
            raise ModelError(
                f"{self.name}: {blocks} vision blocks for {text.num_hidden_layers} text layers, share_layernorm = "
                f"{vision.share_layernorm}; the published checkpoints have as many of both and shared layer norms"
            )

    def parts(self) -> Parts:
        """Two towers, and the pairs of layers between them."""
        vision = self.model.bridgetower.vision_model
        self.stream = BridgeStream(self.model)
        self.vision = ClipStream(vision.visual)
        return Parts(self.stream, vision, self.vision.patch_px)

    def tokens_of(self, pixels: Tensor, visible: Tensor | None) -> Tensor:
        """(pairs, 1 + N', D): a state of the vision tower for each pair, [CLS] first."""
        states = self.vision(pixels, visible, last=self.stream.depth)
        return self.stream.image_states(states)


def load_bridgetower(preset: ModelPreset, folder: Path, *, precision: Precision = "float32") -> BridgeTowerVLM:
    """Load a BridgeTower checkpoint from a folder of transformers' layout; `itm_score.fc` must be in it."""
    from transformers import BridgeTowerConfig, BridgeTowerForImageAndTextRetrieval

    config = BridgeTowerConfig.from_dict(read_config(folder, "bridgetower"))
    model = load_pretrained(BridgeTowerForImageAndTextRetrieval, folder, config, optional=("text_model.pooler",))
    return BridgeTowerVLM(model, BpeTokenizer.from_folder(folder), name=preset.name, precision=precision)
