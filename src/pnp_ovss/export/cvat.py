"""CVAT "Segmentation mask 1.1": a zip of VOC's layout that CVAT's "Upload annotations" takes.

Format: https://docs.cvat.ai/docs/dataset_management/formats/format-smask/. CVAT finds the photos by their names
without ending and the classes by the colours of `labelmap.txt`, so the task's labels must have the same names.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from pnp_ovss.export.run import Run, RunPhoto, masks_of
from pnp_ovss.export.voc import LABEL_MAP, LIST, coloured, image_list, label_map, mask_name
from pnp_ovss.files import shown as path_text
from pnp_ovss.files import write_atomically
from pnp_ovss.pictures.labels_image import png_bytes

_TIME = (1980, 1, 1, 0, 0, 0)
"""Of every entry: the same run gives the same bytes."""


class CvatWriter:
    """One zip, put in place when it is whole."""

    def __init__(self, run: Run, out: Path) -> None:
        self._names, self._out = run.class_names, out
        self._data = io.BytesIO()
        self._archive = zipfile.ZipFile(self._data, "w", zipfile.ZIP_DEFLATED)
        self._stems: list[str] = []

    def add(self, photo: RunPhoto) -> int:
        """The photo's mask as a PNG; returns how many classes it shows."""
        labels = photo.labels()
        self._archive.writestr(_entry(mask_name(photo)), png_bytes(coloured(labels, len(self._names))))
        self._stems.append(path_text(photo.stem))
        return len(masks_of(labels))

    def close(self) -> None:
        """Add the list and the label map, and write the file."""
        self._archive.writestr(_entry(LABEL_MAP), label_map(self._names))
        self._archive.writestr(_entry(LIST), image_list(self._stems))
        self._archive.close()
        write_atomically(self._out, self._data.getvalue())


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, _TIME)
