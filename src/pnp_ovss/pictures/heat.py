"""Where a model looks: a map as colours over the photo, and the patches that it did not see in black."""

from __future__ import annotations

import numpy as np
from PIL import Image

_HEAT = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], dtype=np.float32)
"""Dark violet to pale yellow, rising evenly in lightness."""


def draw_heat(photo: Image.Image, heat: np.ndarray) -> Image.Image:
    """A map (h, w) float32 in [0, 1], enlarged, as colours over the photo in grey."""
    small = np.asarray(Image.fromarray(heat).resize(photo.size, Image.Resampling.BILINEAR)).clip(0, 1)
    position = small * (len(_HEAT) - 1)
    low = position.astype(int).clip(0, len(_HEAT) - 2)
    colours = _HEAT[low] + (_HEAT[low + 1] - _HEAT[low]) * (position - low)[..., None]
    grey = np.asarray(photo.convert("L"), dtype=np.float32)[..., None]
    return Image.fromarray((0.35 * grey + 0.65 * colours).clip(0, 255).astype(np.uint8))


def draw_holes(photo: Image.Image, visible: np.ndarray) -> Image.Image:
    """The photo, black where patches (P_h, P_w) bool are not visible."""
    mask = Image.fromarray(visible.astype(np.uint8) * 255).resize(photo.size, Image.Resampling.NEAREST)
    return Image.composite(photo, Image.new("RGB", photo.size), mask)
