"""What a folder of weights says of itself, without loading them: its family, its sizes, how many numbers it holds."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pnp_ovss.errors import ModelError, PnPError
from pnp_ovss.files import read_json

CONFIG_BYTES = 1 << 20
"""Of a config.json; published ones have a few kB."""
LIMITS = {
    "hidden_size": 20_000, "encoder_hidden_size": 20_000, "intermediate_size": 100_000, "image_text_hidden_size": 20_000,
    "projection_dim": 20_000, "vocab_size": 1_000_000, "max_position_embeddings": 100_000, "num_hidden_layers": 200,
    "num_attention_heads": 200, "patch_size": 1000, "image_size": 10_000, "num_channels": 4, "num_query_tokens": 1000,
    "cross_attention_frequency": 200, "first_cross_layer": 200, "type_vocab_size": 1000, "cross_attention_hidden_size": 20_000,
}  # fmt: skip
"""Whole numbers from 1 that size a model: larger ones would build for hours or fill the memory."""
ANSWERS = "ForConditionalGeneration"
"""How transformers ends the names of the models that answer in words."""
ANY_SIZE_PX = 448
"""For decoders that take any size (Qwen-VL): 256 or 196 image tokens."""
SHARES = ("layer_norm_eps", "initializer_range", "initializer_factor", "attention_dropout", "dropout")
"""Finite numbers from 0 to 10."""


@contextmanager
def refusing(what: Path | str, problem: str = "its files do not make a model") -> Generator[None]:
    """Whatever a library raises on a foreign folder's files, or model, becomes one ModelError, with its reason in one line."""
    try:
        yield
    except PnPError:
        raise
    except Exception as error:  # transformers, tokenizers, safetensors and torch raise every kind of error here
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        kind = type(error).__name__
        raise ModelError(f"{what}: {problem}: {kind}: {reason[:300]}") from error


def family_of(folder: Path) -> str:
    """The family of a checkpoint folder: `pocket` by its file's name, else by its config.json `decoder` or its `model_type`."""
    if (folder / "pocket.safetensors").is_file():
        return "pocket"
    config = read_config(folder)
    return "decoder" if _is_decoder(config) else config["model_type"]


def _is_decoder(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is of a language model that reads images among its tokens and answers in words."""
    made_of = config.get("vision_config") and config.get("text_config") and not config.get("qformer_config")
    return bool(made_of) and any(str(name).endswith(ANSWERS) for name in config.get("architectures") or ())


def decoder_sizes(folder: Path) -> tuple[int, int]:
    """How many layers a decoder's folder has, and the side of its input, px, a multiple of what one image token stands for."""
    missing = [name for name in ("vision_config", "text_config") if not read_config(folder).get(name)]
    if missing:
        raise ModelError(
            f"{folder} is no decoder that reads images: its config.json has no {' and no '.join(missing)}; a decoder has the "
            "sizes of both its image encoder and its language model there"
        )
    with refusing(folder):
        config = transformers_config(folder)
        vision, step = config.vision_config, token_px(config)
        side = getattr(vision, "image_size", None) or ANY_SIZE_PX
        side = side[0] if isinstance(side, list | tuple) else side
        return int(config.get_text_config().num_hidden_layers), max(side // step, 1) * step


def transformers_config(folder: Path) -> Any:
    """The configuration object of a folder's config.json, as `read_config` reads it. Raises ModelError."""
    from transformers import CONFIG_MAPPING

    values = read_config(folder)
    if values["model_type"] not in CONFIG_MAPPING:
        raise ModelError(f"{folder}: transformers knows no model_type '{values['model_type']}'")
    return CONFIG_MAPPING[values["model_type"]].from_dict(values)


def token_px(config: Any) -> int:
    """The side of the square of pixels behind one image token of a decoder: its patches, and how many are merged a side."""
    patch = config.vision_config.patch_size
    return int(patch[0] if isinstance(patch, list | tuple) else patch) * merged_patches(config)


def merged_patches(config: Any) -> int:
    """Patches a side that become one image token of a decoder."""
    ratio = getattr(config, "downsample_ratio", None)
    merged = getattr(config.vision_config, "spatial_merge_size", None) or getattr(config, "scale_factor", None)
    return round(1 / ratio) if ratio else int(merged or 1)


def weights_count(folder: Path) -> int:
    """How many numbers a folder's safetensors hold, from their headers. Raises ModelError for a damaged file."""
    from safetensors import safe_open

    count = 0
    with refusing(folder):
        for path in folder.glob("*.safetensors"):
            with safe_open(path, framework="np") as stored:
                count += sum(math.prod(stored.get_slice(name).get_shape()) for name in stored.keys())  # noqa: SIM118
    return count


def read_config(folder: Path, model_type: str | None = None) -> dict[str, Any]:
    """The folder's config.json, its sizes checked.

    Raises ModelError when it is missing, malformed or of another model type, or a size is no sensible number.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError(f"{folder} has no config.json; it must lie beside the weights")
    if path.stat().st_size > CONFIG_BYTES:
        raise ModelError(f"{path} has {path.stat().st_size:,} bytes; a model's config.json has a few thousand")
    with refusing(folder):  # a nesting without end is a RecursionError
        config = read_json(path, error=ModelError)
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise ModelError(f"{path} has no model_type; it must lie beside the weights")
    if model_type is not None and config["model_type"] != model_type:
        raise ModelError(f"{path}: model_type is '{config['model_type']}', not '{model_type}'; name the right preset")
    check_values(config, path)
    return config


def check_values(values: Mapping[str, Any], path: Path) -> None:
    """Raise ModelError for a part that is no object and a size that is no whole number in its range."""
    for key, value in values.items():
        if isinstance(value, dict):
            check_values(value, path)
        elif key.endswith("_config") and value is not None:
            raise ModelError(f"{path}: {key} is {str(value)[:50]!r}, not an object")
        elif key in LIMITS and not all(type(side) is int and 1 <= side <= LIMITS[key] for side in _sides(key, value)):
            raise ModelError(f"{path}: {key} is {str(value)[:50]!r}, not a whole number from 1 to {LIMITS[key]:,}")
        elif key in SHARES and not (type(value) in (int, float) and 0 <= value <= 10):
            raise ModelError(f"{path}: {key} is {str(value)[:50]!r}, not a number from 0 to 10")


def _sides(key: str, value: Any) -> list[Any]:
    """One number, or height and width where a picture or a patch has both (InternVL writes [448, 448])."""
    two = key in ("image_size", "patch_size") and isinstance(value, list) and len(value) == 2
    return value if two else [value]
