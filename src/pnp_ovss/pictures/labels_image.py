"""Label maps as files: indexed in our colours, and any picture's bytes."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from pnp_ovss.pictures.palette import palette


def labels_image(labels: np.ndarray, classes: int) -> Image.Image:
    """(H, W) labels as an indexed PNG with our palette, or 16-bit grey when there are more than 255 classes."""
    if classes > 255:
        return Image.fromarray(labels.astype(np.uint16))
    picture = Image.fromarray(labels.astype(np.uint8)).convert("P")
    picture.putpalette(palette(255).astype(np.uint8).tobytes())
    return picture


def png_bytes(picture: Image.Image) -> bytes:
    """A picture as the bytes of a PNG file."""
    data = io.BytesIO()
    picture.save(data, "png")
    return data.getvalue()
