"""Label Studio: tasks with brush masks as predictions, and the labelling interface that shows them.

Format: https://labelstud.io/guide/predictions and the brush RLE described in `brush_rle`. Beside `NAME.json` stands
`NAME.xml`, the labelling configuration with our names and colours.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.export.run import Run, RunPhoto
from pnp_ovss.palette import palette

PHOTO_PREFIX = "/data/local-files/?d="
"""Where Label Studio serves photos of a local storage from; the photo's name follows."""
_SIZES = (3, 4, 8, 16)
"""Bits of the four run lengths, as Label Studio's own encoder chooses them."""
_CHANNELS = 4


def write(run: Run, out: Path) -> int:
    """Write the tasks and the configuration; returns how many masks there are."""
    tasks = [_task(photo, run.class_names) for photo in run.photos]
    out.write_text(json.dumps(tasks, ensure_ascii=False) + "\n", "utf-8")
    out.with_suffix(".xml").write_text(label_config(run.class_names), "utf-8")
    return sum(len(task["predictions"][0]["result"]) for task in tasks)


def label_config(class_names: tuple[str, ...]) -> str:
    """The labelling interface: an image, and a brush for each class in our colour."""
    colours = palette(len(class_names))[1:].tolist()
    labels = [
        f'    <Label value={quoteattr(name)} background="#{r:02X}{g:02X}{b:02X}"/>'
        for name, (r, g, b) in zip(class_names, colours, strict=True)
    ]
    brushes = ['  <BrushLabels name="tag" toName="image">', *labels, "  </BrushLabels>"]
    return "\n".join(["<View>", '  <Image name="image" value="$image" zoom="true"/>', *brushes, "</View>"]) + "\n"


def _task(photo: RunPhoto, names: tuple[str, ...]) -> dict[str, Any]:
    result = [_region(photo, names[label - 1], mask) for label, mask in photo.masks()]
    prediction = {"model_version": f"pnp-ovss {photo.model}".strip(), "result": result}
    return {"data": {"image": PHOTO_PREFIX + photo.file_name}, "predictions": [prediction]}


def _region(photo: RunPhoto, name: str, mask: NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "id": hashlib.sha256(f"{photo.stem}\n{name}".encode()).hexdigest()[:10],
        "type": "brushlabels",
        "from_name": "tag",
        "to_name": "image",
        "original_height": photo.size[0],
        "original_width": photo.size[1],
        "image_rotation": 0,
        "value": {"format": "rle", "rle": brush_rle(mask), "brushlabels": [name]},
    }


def brush_rle(mask: NDArray[np.bool_]) -> list[int]:
    """Label Studio's brush RLE of a (H, W) mask, as bytes 0..255.

    A bit stream over the H·W·4 values 0 or 255 of an RGBA picture, row by row: 32 bits, how many values; 5 bits, bits
    of a value minus 1; four times 4 bits, bits of each run-length size minus 1; then runs: a bit 1 (one repeated
    value), 2 bits, which size, the length minus 1 in that many bits, and the value.

    >>> brush_rle(np.array([[True]]))
    [0, 0, 0, 4, 57, 27, 252, 127, 224]
    """
    bits = [f"{mask.size * _CHANNELS:032b}{7:05b}", *(f"{size - 1:04b}" for size in _SIZES)]
    flat = mask.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        bits.extend(_run_bits((end - start) * _CHANNELS, 255 if flat[start] else 0))
    stream = "".join(bits)
    stream += "0" * (-len(stream) % 8)
    return list(int(stream, 2).to_bytes(len(stream) // 8, "big"))


def _run_bits(length: int, value: int) -> list[str]:
    """The bits of one run, in pieces of at most 65536 values."""
    longest = 1 << _SIZES[-1]
    pieces = [longest] * (length // longest) + ([length % longest] if length % longest else [])
    found = []
    for piece in pieces:
        which = next(i for i, size in enumerate(_SIZES) if piece <= 1 << size)
        found.append(f"1{which:02b}{piece - 1:0{_SIZES[which]}b}{value:08b}")
    return found
