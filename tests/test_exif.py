"""Photos as their EXIF orientation says."""

import struct

import numpy as np
import pytest
from PIL import Image

from pnp_ovss.images import read_image
from tests.photos import PHOTO, SMOOTH, H, W, image_file

UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_rotations(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    path.write_bytes(image_file(PHOTO, "PNG", exif=exif))
    assert (read_image(path) == UPRIGHT[orientation](PHOTO)).all()


def test_a_photo_whose_exif_is_ill_formed_is_turned_all_the_same():
    """A resolution as text, as some editors write it: Pillow's own turn writes the EXIF back, and stumbles."""
    turn, resolution = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0), struct.pack("<HHI4s", 0x011A, 2, 4, b"72")
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + turn + resolution + bytes(4)
    assert read_image(image_file(SMOOTH, "JPEG", exif=exif)).shape == (W, H, 3)
