"""Hugging Face's image-segmentation dicts: [{"score", "label", "mask"}] of each photo, on disk and read back.

`segments.jsonl` holds a line a photo, `masks/` the masks (mode L, 255 = the class), `id2label.json` the names for
`transformers`' model configurations. The score is None, as transformers' pipeline gives it for semantic masks.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pnp_ovss.errors import DatasetError
from pnp_ovss.export.coco import json_bytes
from pnp_ovss.export.run import Run, RunPhoto, file_stems
from pnp_ovss.outputs import OutputFolder
from pnp_ovss.pictures.labels_image import png_bytes


class HfWriter:
    """A folder."""

    def __init__(self, run: Run, out: Path) -> None:
        self._names, self._out = run.class_names, OutputFolder(out).begin()
        self._stems = file_stems(run.photos)
        self._records: list[dict[str, Any]] = []

    def add(self, photo: RunPhoto) -> int:
        """A PNG for each class found."""
        segments = []
        for label, mask in photo.masks():
            name = f"masks/{self._stems[photo.file_name]}.{label:03d}.png"
            self._out.write(name, png_bytes(Image.fromarray(mask.astype(np.uint8) * 255)))
            segments.append({"score": None, "label": self._names[label - 1], "mask": name})
        self._records.append({"file_name": photo.name, "segments": segments})
        return len(segments)

    def close(self) -> None:
        """Write the photos' records and the names."""
        lines = [json.dumps(record) + "\n" for record in self._records]  # ASCII: no letter can end a line
        self._out.write("segments.jsonl", "".join(lines).encode())
        id2label = {"0": "background"} | {str(i): name for i, name in enumerate(self._names, 1)}
        self._out.write("id2label.json", json_bytes(id2label))
        self._out.remove_earlier()


def load(folder: str | Path) -> dict[str, list[dict[str, Any]]]:
    """{photo: [{"score", "label", "mask"}]} of a folder that `write` made; masks are PIL images of mode L."""
    folder = Path(folder)
    try:
        records = [json.loads(line) for line in (folder / "segments.jsonl").read_bytes().splitlines()]
        return {record["file_name"]: [_open(segment, folder) for segment in record["segments"]] for record in records}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DatasetError(f"{folder} is not a folder of `pnp-ovss export --to hf`: {error}") from error


def _open(segment: dict[str, Any], folder: Path) -> dict[str, Any]:
    with Image.open(folder / segment["mask"]) as picture:
        return {**segment, "mask": picture.convert("L")}
