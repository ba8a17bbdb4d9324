"""Reading checkpoints strictly: a weight that is missing, left over or of another shape is an error."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pnp_ovss.errors import ModelError


def load_pretrained(model_class: Any, folder: Path, config: Any, *, optional: Sequence[str] = ()) -> Any:
    """A transformers model of this class from a folder's safetensors, float32, frozen, in evaluation mode.

    optional: parts of names that may be missing, because the adapter has no use for them.
    Raises ModelError when files are damaged, shapes differ or weights are missing (transformers would fill them with
    random numbers and go on).
    """
    from safetensors import SafetensorError

    try:
        model, info = model_class.from_pretrained(
            folder, config=config, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{folder}: the weights do not load as {model_class.__name__}: {reason}") from error
    allowed = ("position_ids", *optional)
    missing = sorted(key for key in info["missing_keys"] if not any(part in key for part in allowed))
    if missing:
        raise ModelError(
            f"{folder}: {len(missing)} weights are missing ({missing[0]}, ...); "
            f"not a checkpoint of {model_class.__name__}"
        )
    return model.eval().requires_grad_(False)


def load_own(model: Any, folder: Path) -> Any:
    """Fill a module of ours from `model.safetensors`, exactly; frozen, in evaluation mode. Raises ModelError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / "model.safetensors"
    try:
        result = model.load_state_dict(load_file(path), strict=False)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be loaded: {str(error).strip().splitlines()[-1].strip()}") from error
    if result.missing_keys or result.unexpected_keys:
        raise ModelError(
            f"{path} does not fit its config.json: missing {result.missing_keys[:3]}, "
            f"left over {result.unexpected_keys[:3]}; convert the checkpoint again"
        )
    return model.eval().requires_grad_(False)


def read_config(folder: Path, model_type: str | None = None) -> dict[str, Any]:
    """The folder's config.json. Raises ModelError when it is missing, malformed or of another model type."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ModelError(f"{path} cannot be read; it must lie beside the weights") from error
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict) or "model_type" not in config:
        raise ModelError(f"{path} has no model_type; it must lie beside the weights")
    if model_type is not None and config["model_type"] != model_type:
        raise ModelError(f"{path}: model_type is '{config['model_type']}', not '{model_type}'; name the right preset")
    return config


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
