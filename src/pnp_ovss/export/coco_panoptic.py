"""COCO panoptic: `panoptic.json` and a folder `panoptic/` of PNGs whose colours are segment ids.

Format: https://cocodataset.org/#format-data, "Panoptic Segmentation". Every class is stuff (`isthing` 0), a segment is
a photo's class, and its id R + 256 G + 65536 B is the class's colour in our palette, so that the PNGs can be looked at.
Pixels of no class are 0, COCO's "unlabelled".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pnp_ovss.export.coco import extent, header, image_entry, json_bytes
from pnp_ovss.export.run import Run, RunPhoto, file_stems, masks_of
from pnp_ovss.outputs import OutputFolder
from pnp_ovss.pictures.labels_image import png_bytes
from pnp_ovss.pictures.palette import paint, palette


class PanopticWriter:
    """A folder; each photo's PNG has its name, numbered where two photos differ in their ending alone."""

    def __init__(self, run: Run, out: Path) -> None:
        self._names, self._colours = run.class_names, palette(len(run.class_names))
        self._out = OutputFolder(out).begin()
        self._stems = file_stems(run.photos)
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, photo: RunPhoto) -> int:
        """The photo's PNG; a segment for each class found."""
        labels, name, number = photo.labels(), f"{self._stems[photo.file_name]}.png", len(self._images) + 1
        segments = [
            {"id": segment_id(self._colours[label]), "category_id": label, **extent(mask)}
            for label, mask in masks_of(labels)
        ]
        self._out.write(f"panoptic/{name}", png_bytes(Image.fromarray(paint(labels, len(self._names)))))
        self._images.append(image_entry(number, photo))
        self._annotations.append({"image_id": number, "file_name": name, "segments_info": segments})
        return len(segments)

    def close(self) -> None:
        """Write the JSON file."""
        categories = [
            {"id": i, "name": name, "supercategory": "", "isthing": 0, "color": self._colours[i].tolist()}
            for i, name in enumerate(self._names, 1)
        ]
        data = {**header(self._images), "categories": categories, "annotations": self._annotations}
        self._out.write("panoptic.json", json_bytes(data))
        self._out.remove_earlier()


def segment_id(colour: NDArray[np.uint8]) -> int:
    """COCO's number of an RGB colour.

    >>> segment_id(np.array([1, 2, 0], dtype=np.uint8))
    513
    """
    red, green, blue = (int(value) for value in colour)
    return red + 256 * green + 65536 * blue
