"""Loading weights strictly: a weight, value or file that is not what the model needs is one ModelError."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pnp_ovss.checkpoint import refusing, weights_count
from pnp_ovss.errors import ModelError


def load_pretrained(
    model_class: Any, folder: Path, config: Any, *, optional: Sequence[str] = (), dtype: torch.dtype = torch.float32
) -> Any:
    """A transformers model of this class from a folder's safetensors, in this precision, frozen, in evaluation mode.

    optional: parts of names that may be missing, because the adapter has no use for them.
    Raises ModelError when files are damaged, shapes differ or weights are missing (transformers would fill them with
    random numbers and go on).
    """
    with refusing(folder):
        _check_size(model_class, folder, config)
        model, info = model_class.from_pretrained(
            folder, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True
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
