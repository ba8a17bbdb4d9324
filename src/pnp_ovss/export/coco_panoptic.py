"""COCO panoptic: `panoptic.json` and a folder `panoptic/` of PNGs whose colours are segment ids.

Format: https://cocodataset.org/#format-data, "Panoptic Segmentation". Every class is stuff (`isthing` 0), a segment is
a photo's class, and its id R + 256 G + 65536 B is the class's colour in our palette, so that the PNGs can be looked at.
Pixels of no class are 0, COCO's "unlabelled".
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pnp_ovss.export.coco import bounding_box, header
from pnp_ovss.export.run import Run, RunPhoto, beneath
from pnp_ovss.palette import paint, palette


def write(run: Run, out: Path) -> int:
    """Write the JSON file and the PNGs into the folder; returns how many segments there are."""
    colours = palette(len(run.class_names))
    annotations, count = [], 0
    for image_id, photo in enumerate(run.photos, 1):
        labels = photo.labels()
        Image.fromarray(paint(labels, len(run.class_names))).save(beneath(out, f"panoptic/{photo.stem}.png"))
        segments = _segments(photo, colours)
        count += len(segments)
        annotations.append({"image_id": image_id, "file_name": f"{photo.stem}.png", "segments_info": segments})
    categories = [
        {"id": i, "name": name, "supercategory": "", "isthing": 0, "color": colours[i].tolist()}
        for i, name in enumerate(run.class_names, 1)
    ]
    data = {**header(run), "categories": categories, "annotations": annotations}
    (out / "panoptic.json").write_text(json.dumps(data, ensure_ascii=False) + "\n", "utf-8")
    return count


def segment_id(colour: NDArray[np.uint8]) -> int:
    """COCO's number of an RGB colour.

    >>> segment_id(np.array([1, 2, 0], dtype=np.uint8))
    513
    """
    red, green, blue = (int(value) for value in colour)
    return red + 256 * green + 65536 * blue


def _segments(photo: RunPhoto, colours: NDArray[np.uint8]) -> list[dict[str, Any]]:
    return [
        {
            "id": segment_id(colours[label]),
            "category_id": label,
            "area": int(mask.sum()),
            "bbox": bounding_box(mask),
            "iscrowd": 0,
        }
        for label, mask in photo.masks()
    ]
