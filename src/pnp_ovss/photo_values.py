"""Photos that programs hold, an open file or a tensor, as what the reader takes."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from pnp_ovss.errors import ImageError


def is_tensor(source: Any) -> bool:
    """Whether it is a torch tensor; torch is not imported to know it."""
    return "torch" in sys.modules and isinstance(source, sys.modules["torch"].Tensor)


def channels_last(tensor: Any) -> np.ndarray:
    """(H, W, 3) uint8 of a tensor (3, H, W) or (1, H, W), uint8 or floating in [0, 1]. Raises ImageError."""
    plain = tensor.detach().cpu()
    wide = plain.ndim == 3 and plain.shape[0] in (1, 3)
    floating = plain.is_floating_point()
    if not wide or not (floating or str(plain.dtype) == "torch.uint8"):
        raise ImageError(
            "a tensor must be (3, H, W) or (1, H, W), uint8 0-255 or floating in [0, 1]; "
            f"found {tuple(plain.shape)} of {plain.dtype}"
        )
    if floating:
        if plain.numel() and not (float(plain.min()) >= 0 and float(plain.max()) <= 1):  # false for NaN, too
            raise ImageError("a floating tensor must lie in [0, 1]; divide by 255, or undo its normalisation")
        plain = (plain.float() * 255).round().byte()
    return plain.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()


def read_file(file: Any) -> bytes:
    """The bytes of an open binary file, from where it stands. Raises ImageError."""
    try:
        data = file.read()
    except (OSError, ValueError) as error:
        raise ImageError(f"the file cannot be read ({error}); open it again") from None
    if not isinstance(data, bytes):
        raise ImageError("the file is open as text; open it with mode 'rb'")
    return data
