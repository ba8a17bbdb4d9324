"""PASCAL VOC: `SegmentationClass/*.png`, indexed, with `labelmap.txt` and the list of photos.

Values are class ids, 0 is background; 255 is VOC's void and never occurs. `labelmap.txt` (name:r,g,b:parts:actions)
is what CVAT and Datumaro read names and colours from, `dataset.toml` what our own reader `folder` does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pnp_ovss.export.run import Run, RunPhoto, masks_of
from pnp_ovss.files import shown as path_text
from pnp_ovss.outputs import OutputFolder
from pnp_ovss.pictures.labels_image import labels_image, png_bytes
from pnp_ovss.pictures.palette import palette

MAX_INDEXED = 254
"""Classes that 8 bit hold beside background and void."""
LABEL_MAP, LIST = "labelmap.txt", "ImageSets/Segmentation/default.txt"


class VocWriter:
    """A folder."""

    def __init__(self, run: Run, out: Path) -> None:
        self._names, self._out = run.class_names, OutputFolder(out).begin()
        self._stems: list[str] = []

    def add(self, photo: RunPhoto) -> int:
        """The photo's indexed PNG; returns how many classes it shows."""
        labels = photo.labels()
        self._out.write(mask_name(photo), png_bytes(labels_image(labels, len(self._names))))
        self._stems.append(path_text(photo.stem))
        return len(masks_of(labels))

    def close(self) -> None:
        """Write the list and the label map."""
        self._out.write(LIST, image_list(self._stems).encode())
        self._out.write(LABEL_MAP, label_map(self._names).encode())
        self._out.write("dataset.toml", description(self._names).encode())
        self._out.remove_earlier()


def mask_name(photo: RunPhoto) -> str:
    """Where a photo's mask lies below the folder."""
    return f"SegmentationClass/{path_text(photo.stem)}.png"


def image_list(stems: Sequence[str]) -> str:
    """One photo a line, without ending."""
    return "".join(f"{stem}\n" for stem in stems)


def description(class_names: Sequence[str]) -> str:
    """What `open_dataset("folder", ...)` needs to read the export, with the photos in JPEGImages/."""
    names = ", ".join(json.dumps(name, ensure_ascii=False) for name in class_names)
    return (
        f'images = "JPEGImages"\nmasks = "SegmentationClass"\nlist = "{LIST}"\n'
        f"classes = [{names}]\nbackground = 0\nvoid = [255]\n"
    )


def label_map(class_names: Sequence[str]) -> str:
    """CVAT's `labelmap.txt`.

    >>> print(label_map(["cat"]), end="")
    # label:color_rgb:parts:actions
    background:0,0,0::
    cat:230,159,0::
    """
    lines = ["# label:color_rgb:parts:actions"]
    colours = palette(len(class_names)).tolist()
    for name, colour in zip(("background", *class_names), colours, strict=True):
        lines.append(f"{name}:{','.join(map(str, colour))}::")
    return "\n".join(lines) + "\n"


def coloured(labels: np.ndarray, classes: int) -> Image.Image:
    """(H, W) labels as a picture in the label map's colours: indexed up to 254 classes, else RGB."""
    if classes <= MAX_INDEXED:
        return labels_image(labels, classes)
    return Image.fromarray(palette(classes)[labels])
