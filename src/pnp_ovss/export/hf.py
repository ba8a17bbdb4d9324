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
from pnp_ovss.export.run import Run, RunPhoto, beneath


def write(run: Run, out: Path) -> int:
    """Write the folder; returns how many masks it holds."""
    records = [{"file_name": photo.file_name, "segments": _segments(photo, run, out)} for photo in run.photos]
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
    (out / "segments.jsonl").write_text("".join(lines), "utf-8")
    id2label = {"0": "background"} | {str(i): name for i, name in enumerate(run.class_names, 1)}
    (out / "id2label.json").write_text(json.dumps(id2label, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return sum(len(record["segments"]) for record in records)


def load(folder: str | Path) -> dict[str, list[dict[str, Any]]]:
    """{photo: [{"score", "label", "mask"}]} of a folder that `write` made; masks are PIL images of mode L."""
    folder = Path(folder)
    try:
        lines = (folder / "segments.jsonl").read_text("utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        return {record["file_name"]: [_open(segment, folder) for segment in record["segments"]] for record in records}
    except (OSError, ValueError, KeyError) as error:
        raise DatasetError(f"{folder} is not a folder of `pnp-ovss export --to hf`: {error}") from error


def _segments(photo: RunPhoto, run: Run, out: Path) -> list[dict[str, Any]]:
    found = []
    for label, mask in photo.masks():
        name = f"masks/{photo.stem}.{label:03d}.png"
        Image.fromarray(mask.astype(np.uint8) * 255).save(beneath(out, name))
        found.append({"score": None, "label": run.class_names[label - 1], "mask": name})
    return found


def _open(segment: dict[str, Any], folder: Path) -> dict[str, Any]:
    with Image.open(folder / segment["mask"]) as picture:
        return {**segment, "mask": picture.convert("L")}
