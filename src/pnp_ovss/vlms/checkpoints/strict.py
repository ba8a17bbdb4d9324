"""Reading checkpoints strictly: a value, weight or file that is not what the model needs is one ModelError."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

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
SHARES = ("layer_norm_eps", "initializer_range", "initializer_factor", "attention_dropout", "dropout")
"""Finite numbers from 0 to 10."""


@contextmanager
def refusing(folder: Path) -> Generator[None]:
    """Whatever a library raises on a foreign folder's files becomes one ModelError, with its reason in one line."""
    try:
        yield
    except PnPError:
        raise
    except Exception as error:  # transformers, tokenizers, safetensors and torch raise every kind of error here
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        kind = type(error).__name__
        raise ModelError(f"{folder}: its files do not make a model: {kind}: {reason[:300]}") from error


def load_pretrained(model_class: Any, folder: Path, config: Any, *, optional: Sequence[str] = ()) -> Any:
    """A transformers model of this class from a folder's safetensors, float32, frozen, in evaluation mode.

    optional: parts of names that may be missing, because the adapter has no use for them.
    Raises ModelError when files are damaged, shapes differ or weights are missing (transformers would fill them with
    random numbers and go on).
    """
    with refusing(folder):
        _check_size(model_class, folder, config)
        model, info = model_class.from_pretrained(
            folder, config=config, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
    allowed = ("position_ids", *optional)
    missing = sorted(key for key in info["missing_keys"] if not any(part in key for part in allowed))
    if missing:
        raise ModelError(
            f"{folder}: {len(missing)} weights are missing ({missing[0]}, ...); "
            f"not a checkpoint of {model_class.__name__}"
        )
    return model.eval().requires_grad_(False)


def load_clip_tokenizer(folder: Path) -> Any:
    """CLIP's tokenizer from a folder. Raises ModelError when its files are not there."""
    from transformers import CLIPTokenizer

    names = {path.name for path in folder.iterdir()}
    if "tokenizer.json" not in names and not {"vocab.json", "merges.txt"} <= names:
        raise ModelError(
            f"{folder}: neither tokenizer.json nor vocab.json and merges.txt; copy them beside the weights"
        )
    with refusing(folder):
        return CLIPTokenizer.from_pretrained(folder)


def weights_count(folder: Path) -> int:
    """How many numbers a folder's safetensors hold, from their headers. Raises ModelError for a damaged file."""
    from safetensors import safe_open

    count = 0
    with refusing(folder):
        for path in folder.glob("*.safetensors"):
            with safe_open(path, framework="pt") as stored:
                count += sum(math.prod(stored.get_slice(name).get_shape()) for name in stored.keys())  # noqa: SIM118
    return count


def _check_size(model_class: Any, folder: Path, config: Any) -> None:
    """Refuse a config.json that asks for far more weights than there are: they would be drawn at random in memory."""
    with torch.device("meta"):
        wanted = sum(parameter.numel() for parameter in model_class(config).parameters())
    there = weights_count(folder)
    if wanted > 2 * there + 1_000_000:
        raise ModelError(
            f"{folder}: config.json describes {wanted:,} weights, the files hold {there:,}; it belongs to another model"
        )


def load_own(model: Any, folder: Path) -> Any:
    """Fill a module of ours from `model.safetensors`, exactly; frozen, in evaluation mode. Raises ModelError."""
    from safetensors.torch import load_file

    path = folder / "model.safetensors"
    with refusing(folder):
        result = model.load_state_dict(load_file(path), strict=False)
    if result.missing_keys or result.unexpected_keys:
        raise ModelError(
            f"{path} does not fit its config.json: missing {result.missing_keys[:3]}, "
            f"left over {result.unexpected_keys[:3]}; convert the checkpoint again"
        )
    return model.eval().requires_grad_(False)


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
    _check_values(config, path)
    return config


def _check_values(values: Mapping[str, Any], path: Path) -> None:
    """Raise ModelError for a part that is no object and a size that is no whole number in its range."""
    for key, value in values.items():
        if isinstance(value, dict):
            _check_values(value, path)
        elif key.endswith("_config") and value is not None:
            raise ModelError(f"{path}: {key} is {str(value)[:50]!r}, not an object")
        elif key in LIMITS and not (type(value) is int and 1 <= value <= LIMITS[key]):
            raise ModelError(f"{path}: {key} is {str(value)[:50]!r}, not a whole number from 1 to {LIMITS[key]:,}")
        elif key in SHARES and not (type(value) in (int, float) and 0 <= value <= 10):
            raise ModelError(f"{path}: {key} is {str(value)[:50]!r}, not a number from 0 to 10")


def expect_heads(name: str, heads: int, width: int, key: str, *, head_width: int = 64) -> None:
    """A wrong head count loads silently and gives meaningless maps. Narrow models (tests) are not checked.

    head_width: what the family's published checkpoints have. Raises ModelError.
    """
    if width >= 512 and heads * head_width != width:
        raise ModelError(
            f"{name}: {key} is {heads} for width {width}; the checkpoint has {width // head_width}: "
            f"set {key} in config.json"
        )


def expect_vocabulary(name: str, rows: int, expected: Sequence[int]) -> None:
    """The word table must have one of the expected sizes. Raises ModelError."""
    if rows not in expected:
        sizes = " or ".join(str(size) for size in expected)
        raise ModelError(f"{name}: the vocabulary has {rows} entries, not {sizes}; this is another checkpoint")
