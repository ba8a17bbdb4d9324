"""CVAT "Segmentation mask 1.1": a zip of VOC's layout that CVAT's "Upload annotations" takes.

Format: https://docs.cvat.ai/docs/dataset_management/formats/format-smask/. CVAT finds the photos by their names
without ending and the classes by the colours of `labelmap.txt`, so the task's labels must have the same names.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from pnp_ovss.export.run import Run
from pnp_ovss.export.voc import coloured, image_list, label_map

_TIME = (1980, 1, 1, 0, 0, 0)
"""Of every entry: the same run gives the same bytes."""


def write(run: Run, out: Path) -> int:
    """Write the zip; returns how many masks of classes it holds."""
    texts = {"labelmap.txt": label_map(run), "ImageSets/Segmentation/default.txt": image_list(run)}
    count = 0
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(_entry(name), text)
        for photo in run.photos:
            labels = photo.labels()
            picture = coloured(labels, len(run.class_names))
            archive.writestr(_entry(f"SegmentationClass/{photo.stem}.png"), _png(picture))
            count += len(np.unique(labels[labels > 0]))
    return count


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, _TIME)


def _png(picture: Image.Image) -> bytes:
    data = io.BytesIO()
    picture.save(data, "png")
    return data.getvalue()
