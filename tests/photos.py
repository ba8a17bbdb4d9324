"""One photo in many files, and the refusal of what is none."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pnp_ovss.errors import ImageError
from pnp_ovss.images import read_image

H, W = 24, 36
PHOTO = np.random.default_rng(0).integers(0, 256, (H, W, 3), dtype=np.uint8)
SMOOTH = np.stack(np.broadcast_arrays(np.arange(W) * 7, np.arange(H)[:, None] * 10, 90), axis=-1).astype(np.uint8)
GREY = PHOTO[..., 0]


def image_file(pixels: np.ndarray, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


def png_file(width: int, height: int, rows: bytes, *, bits: int = 8, colour: int = 2) -> bytes:
    """A PNG written by hand: Pillow writes no 16-bit RGB, and no headers that lie."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def refusal(source, *said: str) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(source)
    message = str(caught.value)
    assert "\n" not in message
    for text in said:
        assert text in message
    return message
