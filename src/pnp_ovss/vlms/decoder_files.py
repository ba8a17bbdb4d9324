"""A decoder's folder: weights, tokenizer, chat template and how its processor normalises pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from pnp_ovss.checkpoint import refusing, transformers_config
from pnp_ovss.config import Precision
from pnp_ovss.errors import ModelError
from pnp_ovss.files import read_json
from pnp_ovss.presets import ModelPreset
from pnp_ovss.vlms.base import CLIP_MEAN, CLIP_STD
from pnp_ovss.vlms.checkpoints.strict import load_pretrained
from pnp_ovss.vlms.decoder import DecoderVLM, Triple
from pnp_ovss.vlms.decoder_prompt import ChatFiles


def load_decoder(preset: ModelPreset, folder: Path, *, precision: Precision = "float32") -> DecoderVLM:
    """Load a decoder from a folder of transformers' layout; of its processor the template and the normalisation are read.

    Raises ModelError that says what is missing.
    """
    from transformers import AutoModelForImageTextToText

    with refusing(folder):
        config = transformers_config(folder)
    if type(config) not in AutoModelForImageTextToText._model_mapping:
        raise ModelError(f"{folder}: transformers has no image-text-to-text model of model_type '{config.model_type}'")
    kind = AutoModelForImageTextToText._model_mapping[type(config)]
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    model, files = load_pretrained(kind, folder, config, dtype=dtype), ChatFiles.from_folder(folder)
    mean, std = read_normalisation(folder)
    return DecoderVLM(model, files, mean=mean, std=std, name=preset.name, precision=precision)


def read_normalisation(folder: Path) -> tuple[Triple, Triple]:
    """Mean and std of preprocessor_config.json (or the image part of processor_config.json); CLIP's where it says none."""
    found: dict[str, Any] = {}
    for name in ("processor_config.json", "preprocessor_config.json"):
        if (folder / name).is_file():
            says = read_json(folder / name, error=ModelError)
            found |= says.get("image_processor", says)
    mean, std = found.get("image_mean") or CLIP_MEAN, found.get("image_std") or CLIP_STD
    return _triple(folder, mean), _triple(folder, std)


def _triple(folder: Path, values: Any) -> Triple:
    if not isinstance(values, list | tuple) or len(values) != 3 or not all(isinstance(v, int | float) for v in values):
        raise ModelError(f"{folder}: image_mean and image_std must be three numbers; found {str(values)[:60]}")
    return float(values[0]), float(values[1]), float(values[2])
