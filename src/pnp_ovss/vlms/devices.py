"""Where a model runs, and in which precision it runs well there."""

from __future__ import annotations

import torch

from pnp_ovss.config import Precision
from pnp_ovss.errors import ConfigError

BFLOAT16_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")
"""Of x86 and ARM, as `torch.cpu.get_capabilities` names them."""


def pick_device(device: str) -> torch.device:
    """A torch device from `auto`, `cpu`, `cuda`, `cuda:1`, `mps`. Raises ConfigError when it is not there."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"unknown device '{device}'; choose from auto, cpu, cuda, mps") from error
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(found.type, False):
        raise ConfigError(f"device '{device}' is not available on this machine; use device cpu or auto")
    return found


def pick_precision(precision: Precision, device: str | torch.device = "auto") -> Precision:
    """What `auto` means on a device: bfloat16 where it has the instructions, else float32; others stay as asked."""
    if precision != "auto":
        return precision
    return "bfloat16" if has_bfloat16(pick_device(str(device))) else "float32"


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 by instructions of its own."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    if hasattr(torch.cpu, "get_capabilities"):  # newer than the oldest torch that this package takes
        found = torch.cpu.get_capabilities()
        return any(found.get(name, False) for name in BFLOAT16_INSTRUCTIONS)
    return torch.cpu._is_avx512_bf16_supported()
