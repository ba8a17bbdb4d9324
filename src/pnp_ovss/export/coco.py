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

from pnp_ovss.export.run import Run, RunPhoto
from pnp_ovss.files import write_atomically
from pnp_ovss.masks.rle import encode_mask


class CocoWriter:
    """One JSON file; image ids count from 1."""

    def __init__(self, run: Run, out: Path) -> None:
        self._names, self._out = run.class_names, out
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, photo: RunPhoto) -> int:
        """An annotation for each class found."""
        masks, number = photo.masks(), len(self._images) + 1
        self._images.append(image_entry(number, photo))
        self._annotations += [_annotation(number, label, mask) for label, mask in masks]
        return len(masks)

    def close(self) -> None:
        """Write the file."""
        numbered = [{"id": number, **annotation} for number, annotation in enumerate(self._annotations, 1)]
        categories = [{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(self._names, 1)]
        data = {**header(self._images), "categories": categories, "annotations": numbered}
        write_atomically(self._out, json_bytes(data))


def header(images: list[dict[str, Any]]) -> dict[str, Any]:
    """`info`, `licenses` and `images` of both COCO formats."""
    info = {"description": "masks by PnP-OVSS", "version": version("pnp-ovss")}
    return {"info": info, "licenses": [], "images": images}


def image_entry(number: int, photo: RunPhoto) -> dict[str, Any]:
    """A photo in `images`."""
    return {"id": number, "file_name": photo.name, "height": photo.size[0], "width": photo.size[1]}


def json_bytes(data: Any) -> bytes:
    """A JSON document as it stands in a file."""
    return (json.dumps(data, ensure_ascii=False) + "\n").encode()


def _annotation(image_id: int, label: int, mask: NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "category_id": label,
        "segmentation": encode_mask(mask),
        **extent(mask),
    }


def extent(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """What both COCO formats say of a mask with at least one pixel."""
    return {"area": int(mask.sum()), "bbox": bounding_box(mask), "iscrowd": 0}


def bounding_box(mask: NDArray[np.bool_]) -> list[int]:
    """[x, y, width, height] px of a mask with at least one pixel.

    >>> bounding_box(np.array([[False, False], [False, True]]))
    [1, 1, 1, 1]
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1]
