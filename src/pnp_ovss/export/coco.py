"""COCO instances JSON: one annotation a photo and class, its mask as run lengths.

Format: https://cocodataset.org/#format-data, "Object Detection". The masks are semantic: two cats are one annotation.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.export.rle import encode_mask
from pnp_ovss.export.run import Run


def write(run: Run, out: Path) -> int:
    """Write the JSON file; returns how many annotations it has."""
    annotations = [
        _annotation(image_id, label, mask)
        for image_id, photo in enumerate(run.photos, 1)
        for label, mask in photo.masks()
    ]
    numbered = [{"id": number, **annotation} for number, annotation in enumerate(annotations, 1)]
    categories = [{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(run.class_names, 1)]
    data = {**header(run), "categories": categories, "annotations": numbered}
    out.write_text(json.dumps(data, ensure_ascii=False) + "\n", "utf-8")
    return len(numbered)


def header(run: Run) -> dict[str, Any]:
    """`info`, `licenses` and `images` of both COCO formats; image ids count from 1 in the run's order."""
    images = [
        {"id": i, "file_name": photo.file_name, "height": photo.size[0], "width": photo.size[1]}
        for i, photo in enumerate(run.photos, 1)
    ]
    info = {"description": "masks by PnP-OVSS", "version": version("pnp-ovss")}
    return {"info": info, "licenses": [], "images": images}


def _annotation(image_id: int, label: int, mask: NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "category_id": label,
        "segmentation": encode_mask(mask),
        "area": int(mask.sum()),
        "bbox": bounding_box(mask),
        "iscrowd": 0,
    }


def bounding_box(mask: NDArray[np.bool_]) -> list[int]:
    """[x, y, width, height] px of a mask with at least one pixel.

    >>> bounding_box(np.array([[False, False], [False, True]]))
    [1, 1, 1, 1]
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1]
