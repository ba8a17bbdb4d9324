"""Pictures of more than 8 bits a channel as 8-bit ones, by the range that they use."""

from __future__ import annotations

import logging

import numpy as np
from PIL import Image

_BITS, _PHOTOMETRIC = 258, 262  # BitsPerSample and PhotometricInterpretation of TIFF

log = logging.getLogger(__name__)


def has_16_bit_colours(picture: Image.Image) -> bool:
    """Whether a picture's file has 16 bits a colour channel, of which Pillow keeps the upper 8."""
    return picture.mode in ("RGB", "RGBA") and any(";16" in str(tile[3]) for tile in getattr(picture, "tile", ()))


def has_unread_depth(picture: Image.Image) -> bool:
    """Whether a TIFF's colours have more than 8 bits in a layout (planes) that Pillow reads as if they had 8."""
    bits = getattr(picture, "tag_v2", {}).get(_BITS, (8,))
    return picture.mode in ("RGB", "RGBA") and max(bits) > 8 and not has_16_bit_colours(picture)


def is_negative(picture: Image.Image) -> bool:
    """Whether a TIFF of 16 bits calls white 0 (MINISWHITE), which Pillow minds with 8 bits only."""
    return picture.mode.startswith("I;16") and getattr(picture, "tag_v2", {}).get(_PHOTOMETRIC) == 0


def to_8_bit(picture: Image.Image, name: str, *, negative: bool = False) -> Image.Image:
    """Whole numbers by the bits that they use (8 to 16), floats by 1 or 255, whatever leaves those by its own range.

    Cameras write 10, 12 or 14 bits into files of 16: by 65535 such a photo is black. negative: 65535 is black.
    """
    values = np.asarray(picture, dtype=np.float64)
    values = 65535 - values if negative else values
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    scales = (1.0, 255.0) if picture.mode == "F" else tuple(2.0**bits - 1 for bits in range(8, 17))
    fitting = [scale for scale in scales if low >= 0 and high <= scale]
    low, high = (0.0, fitting[0]) if fitting else (low, high)
    if 255 < high < 65535 and fitting:
        _say_range(int(high).bit_length(), name)
    scaled = (values - low) / max(high - low, 1e-12) * 255
    return Image.fromarray(scaled.clip(0, 255).round().astype(np.uint8))


def widen_colours(rgb: np.ndarray, name: str) -> np.ndarray:
    """(H, W, 3) uint8, the upper halves of 16-bit colours, as bright as if all bits were used."""
    bits = int(rgb.max(initial=0)).bit_length()
    if bits in (0, 8):
        return rgb
    _say_range(8 + bits, name)
    return (rgb * (255 / (2**bits - 1))).round().astype(np.uint8)


_said: set[int] = set()


def _say_range(bits: int, name: str) -> None:
    """Say once a process that photos of 16 bits use fewer, and are read so."""
    if bits not in _said:
        _said.add(bits)
        log.warning("%s has 16 bits and uses %d: photos like it are scaled by 2^%d - 1", name, bits, bits)
