"""Ground truth beside photos that EXIF turns: most tools draw masks on the pixels as they are stored."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from pnp_ovss.errors import DatasetError

_TURN = {
    5: lambda labels: labels.T,
    6: lambda labels: np.rot90(labels, -1),
    7: lambda labels: labels[::-1, ::-1].T,
    8: lambda labels: np.rot90(labels),
}
"""What EXIF's orientations that exchange width and height do with an array."""


def upright(labels: NDArray, photo: Path | None) -> NDArray:
    """(H, W) labels as the photo is shown. Turned with it where their size says that they lie on its stored pixels.

    Raises DatasetError where EXIF turns the photo and the size does not tell (half a turn, mirrors, squares).
    """
    stored, turn = _header(photo) if photo else (None, 1)
    if stored is None or turn == 1 or labels.shape not in (stored, stored[::-1]):
        return labels
    if turn in _TURN and stored[0] != stored[1]:
        return np.ascontiguousarray(_TURN[turn](labels)) if labels.shape == stored else labels
    raise DatasetError(
        f"{photo} is turned by EXIF (orientation {turn}), and the size of its mask does not tell whether the mask is: "
        "save the photo upright, without EXIF"
    )


def _header(photo: Path) -> tuple[tuple[int, int] | None, int]:
    """(height, width) as stored and EXIF's orientation, 1 = upright; (None, 1) for what is no picture."""
    try:
        with Image.open(photo) as picture:
            tags, stored = picture.getexif(), (picture.height, picture.width)
            if picture.format == "TIFF":  # Pillow says the upright size of a TIFF, its tags the stored one
                stored = (tags[ExifTags.Base.ImageLength], tags[ExifTags.Base.ImageWidth])
            turn = tags.get(ExifTags.Base.Orientation, 1)
            return stored, turn if turn in range(2, 9) else 1  # other numbers turn nothing
    except Exception:  # whatever a decoder raises on damaged bytes; said when the photo itself is read
        return None, 1
