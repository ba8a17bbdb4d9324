"""The built-in pocket model behind the adapter protocol; its text side is served by BLIP's code."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from pnp_ovss.config import Precision
from pnp_ovss.presets import ModelPreset
from pnp_ovss.vlms.cross_attention import Parts, TextStreamVLM
from pnp_ovss.vlms.encoders.efficientnet import STRIDE_PX
from pnp_ovss.vlms.encoders.lexicon import Lexicon, LexiconTokenizer
from pnp_ovss.vlms.encoders.pocket_model import MEAN, SIZE_MULTIPLE_PX, STD, load_pocket, weights_folder
from pnp_ovss.vlms.encoders.text_stream import TextStream
from pnp_ovss.vlms.encoders.vision_stream import in_sight


class PocketVLM(TextStreamVLM):
    """A `PocketModel`; a "patch" is one stride-16 cell of its convolutional trunk."""

    name = "pocket"
    mean = MEAN
    std = STD

    def parts(self) -> Parts:
        """A convolutional image encoder, and a text encoder that looks at its cells."""
        encoder = self.model.image_encoder
        text = TextStream(self.model.text_encoder, self.model.itm_head)
        return Parts(text, encoder, STRIDE_PX, SIZE_MULTIPLE_PX, prefix_tokens=0)

    def tokens_of(self, pixels: Tensor, visible: Tensor | None) -> Tensor:
        """(P, N', D); removed patches leave the keys, not the trunk."""
        encoder = self.model.image_encoder
        tokens = encoder(pixels.to(encoder.position.dtype))
        return in_sight(tokens, visible)


def load_pocket_vlm(preset: ModelPreset, folder: Path | None, *, precision: Precision = "float32") -> PocketVLM:
    """The built-in weights, or a folder of the same layout (a retrained pocket model)."""
    model, tokenizer = load_pocket(None if folder is None else folder / "pocket.safetensors")
    words = LexiconTokenizer(tokenizer, Lexicon((folder or weights_folder()) / "pocket-words.txt"))
    return PocketVLM(model, words, name=preset.name, precision=precision)
