"""ALBEF (Li et al. 2021), converted from its original checkpoints (`pnp-ovss models convert FILE.pth --as albef`).

It is BLIP's architecture but for three things: the first six text layers have no cross-attention, position 0 stays
[CLS], and the vocabulary is plain BERT's; so transformers' BLIP classes run it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pnp_ovss.checkpoint import read_config
from pnp_ovss.config import Precision
from pnp_ovss.errors import ModelError
from pnp_ovss.presets import ModelPreset
from pnp_ovss.vlms.base import layer_index
from pnp_ovss.vlms.blip import BlipVLM
from pnp_ovss.vlms.checkpoints.strict import load_pretrained
from pnp_ovss.vlms.encoders.wordpiece import WordPieceTokenizer

VOCABULARY_SIZE = 30522


def drop_cross_attention(text_model: Any, below: int) -> None:
    """Remove the cross-attention that transformers gives every text layer from the layers (from 1) under `below`."""
    for block in text_model.encoder.layer[: layer_index(below)]:
        del block.crossattention


class AlbefVLM(BlipVLM):
    """ALBEF in transformers' BLIP classes, with cross-attention in its upper layers only."""

    name = "albef"
    vocabulary_size = VOCABULARY_SIZE


def load_albef(preset: ModelPreset, folder: Path, *, precision: Precision = "float32") -> AlbefVLM:
    """Load a converted ALBEF checkpoint from its folder (config.json, model.safetensors, vocab.txt)."""
    from transformers import BlipConfig, BlipForImageTextRetrieval

    config = read_config(folder, "albef")
    if "blip" not in config or "first_cross_layer" not in config:
        raise ModelError(f"{folder}/config.json lacks 'blip' or 'first_cross_layer'; convert the checkpoint again")
    blip = BlipConfig.from_dict(config["blip"])
    first = int(config["first_cross_layer"])
    absent = [f"encoder.layer.{index}.crossattention" for index in range(layer_index(first))]
    model = load_pretrained(BlipForImageTextRetrieval, folder, blip, optional=absent)
    tokenizer = WordPieceTokenizer.from_folder(folder)
    drop_cross_attention(model.text_encoder, first)
    return AlbefVLM(model, tokenizer, name=preset.name, precision=precision)
