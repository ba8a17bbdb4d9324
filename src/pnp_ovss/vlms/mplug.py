"""mPLUG (Li et al. 2022), converted from its original checkpoints (`pnp-ovss models convert FILE.pth --as mplug`).

CLIP's vision transformer → a projection where the widths differ → six text layers without and six fusion layers with
cross-attention. The skip-connected layers of the paper come every `stride_layer` fusion layers; the shipped
configuration has stride 6 for 6 layers, so that none runs, and none is here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pnp_ovss.checkpoint import read_config
from pnp_ovss.config import Precision
from pnp_ovss.presets import ModelPreset
from pnp_ovss.vlms.albef import VOCABULARY_SIZE, drop_cross_attention
from pnp_ovss.vlms.checkpoints.strict import expect_heads, expect_vocabulary, load_own
from pnp_ovss.vlms.cross_attention import Parts, TextStreamVLM
from pnp_ovss.vlms.encoders.clip_stream import ClipStream
from pnp_ovss.vlms.encoders.text_stream import TextStream
from pnp_ovss.vlms.encoders.wordpiece import WordPieceTokenizer


class MplugModel(nn.Module):
    """The parts of mPLUG that image-text matching uses, with transformers' classes for the two encoders.

    config: {"vision": {...}, "text": {...}, "first_cross_layer": n}, the keyword arguments of transformers'
    BridgeTowerVisionConfig and BlipTextConfig, and the first layer (from 1) with cross-attention.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        from transformers import BlipTextConfig, BlipTextModel
        from transformers.models.bridgetower.modeling_bridgetower import BridgeTowerVisionConfig, BridgeTowerVisionModel

        super().__init__()
        vision = BridgeTowerVisionConfig(**config["vision"])
        text = BlipTextConfig(**config["text"], is_decoder=True, bos_token_id=None, eos_token_id=None, sep_token_id=102)
        self.vision_model = BridgeTowerVisionModel(vision)
        wide = vision.hidden_size != text.hidden_size
        self.visn_fc = nn.Linear(vision.hidden_size, text.hidden_size) if wide else nn.Identity()
        self.visn_layer_norm = nn.LayerNorm(text.hidden_size, eps=1e-12) if wide else nn.Identity()
        self.text_encoder = BlipTextModel(text, add_pooling_layer=False)
        drop_cross_attention(self.text_encoder, config["first_cross_layer"])
        self.itm_head = nn.Linear(text.hidden_size, 2)


class MplugVLM(TextStreamVLM):
    """An `MplugModel` behind the adapter protocol. Its position table is resized bilinearly, as in the original."""

    name = "mplug"

    def check(self) -> None:
        """The heads of the text side and the word table."""
        text = self.model.text_encoder
        expect_heads(self.name, text.config.num_attention_heads, text.config.hidden_size, "num_attention_heads")
        expect_vocabulary(self.name, text.embeddings.word_embeddings.num_embeddings, [VOCABULARY_SIZE])

    def parts(self) -> Parts:
        """A vision tower, a projection that belongs to the text's side, and the text encoder."""
        self.vision = ClipStream(self.model.vision_model.visual, position_mode="bilinear")
        text = TextStream(self.model.text_encoder, self.model.itm_head)
        return Parts(text, self.model.vision_model, self.vision.patch_px)

    def tokens_of(self, pixels: Tensor, visible: Tensor | None) -> Tensor:
        """(P, 1 + N', D), [CLS] first, as wide as the text."""
        tokens = self.vision(pixels, visible)[-1].to(self.dtype)
        return self.model.visn_layer_norm(self.model.visn_fc(tokens))


def load_mplug(preset: ModelPreset, folder: Path, *, precision: Precision = "float32") -> MplugVLM:
    """Load a converted mPLUG checkpoint from its folder (config.json, model.safetensors, vocab.txt)."""
    model = load_own(MplugModel(read_config(folder, "mplug")), folder)
    return MplugVLM(model, WordPieceTokenizer.from_folder(folder), name=preset.name, precision=precision)
