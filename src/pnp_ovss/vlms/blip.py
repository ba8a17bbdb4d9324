"""BLIP image-text retrieval checkpoints (Li et al. 2022): ViT + BERT with cross-attention + ITM head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from pnp_ovss.checkpoint import read_config
from pnp_ovss.config import Precision
from pnp_ovss.presets import ModelPreset
from pnp_ovss.vlms.checkpoints.strict import expect_heads, expect_vocabulary, load_pretrained
from pnp_ovss.vlms.cross_attention import Parts, TextStreamVLM
from pnp_ovss.vlms.encoders.text_stream import TextStream
from pnp_ovss.vlms.encoders.vision_stream import VisionStream
from pnp_ovss.vlms.encoders.wordpiece import WordPieceTokenizer

ENC_TOKEN = 30523
"""[ENC] of LAVIS, at position 0 of every text; transformers leaves [CLS] there."""
VOCABULARY_SIZE = 30524


class BlipVLM(TextStreamVLM):
    """A `BlipForImageTextRetrieval` of transformers behind the adapter protocol.

    Raises ModelError when the head count or the vocabulary is not BLIP's (12 heads for 768 wide; 30524 entries):
    a wrong value loads silently and gives meaningless maps.
    """

    name = "blip"
    vocabulary_size = VOCABULARY_SIZE

    def check(self) -> None:
        """The heads of both sides and the word table."""
        text, vision = self.model.config.text_config, self.model.config.vision_config
        expect_heads(self.name, text.num_attention_heads, text.hidden_size, "num_attention_heads")
        expect_heads(self.name, vision.num_attention_heads, vision.hidden_size, "vision num_attention_heads")
        rows = self.model.text_encoder.embeddings.word_embeddings.num_embeddings
        expect_vocabulary(self.name, rows, [self.vocabulary_size])

    def parts(self) -> Parts:
        """A vision tower, and a text encoder that looks at its output."""
        self.vision = VisionStream(self.model.vision_model)
        text = TextStream(self.model.text_encoder, self.model.itm_head)
        return Parts(text, self.model.vision_model, self.vision.patch_px)

    def tokens_of(self, pixels: Tensor, visible: Tensor | None) -> Tensor:
        """(P, 1 + N', D), [CLS] first."""
        return self.vision(pixels, visible)


def load_blip(preset: ModelPreset, folder: Path, *, precision: Precision = "float32") -> BlipVLM:
    """Load a BLIP checkpoint from a folder of transformers' layout (config.json, *.safetensors, tokenizer files)."""
    from transformers import BlipConfig, BlipForImageTextRetrieval

    config: Any = BlipConfig.from_dict(read_config(folder, "blip"))
    config.text_config.is_decoder = True
    if (config.text_config.hidden_size, config.text_config.num_attention_heads) == (768, 8):
        # Some published config.json carry transformers' default; the weights have 12 heads.
        config.text_config.num_attention_heads = 12
    model = load_pretrained(BlipForImageTextRetrieval, folder, config)
    tokenizer = WordPieceTokenizer.from_folder(folder, first_token=ENC_TOKEN)
    return BlipVLM(model, tokenizer, name=preset.name, precision=precision)
