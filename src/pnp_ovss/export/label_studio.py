"""Label Studio: tasks with brush masks as predictions, and the labelling interface that shows them.

Format: https://labelstud.io/guide/predictions and the brush RLE described in `brush_rle`. Beside `NAME.json` stands
`NAME.xml`, the labelling configuration with our names and colours.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.export.coco import json_bytes
from pnp_ovss.export.run import Run, RunPhoto
from pnp_ovss.files import write_atomically
from pnp_ovss.pictures.palette import palette

PHOTO_PREFIX = "/data/local-files/?d="
"""Where Label Studio serves photos of a local storage from; the photo's name follows."""
_SIZES = (3, 4, 8, 16)
"""Bits of the four run lengths, as Label Studio's own encoder chooses them."""
_CHANNELS = 4


class LabelStudioWriter:
    """A JSON file of tasks, and the configuration beside it."""

    def __init__(self, run: Run, out: Path) -> None:
        self._names, self._out = run.class_names, out
        self._tasks: list[dict[str, Any]] = []

    def add(self, photo: RunPhoto) -> int:
        """The photo's task, with a region for each class found."""
        result = [brush_region(photo.name, self._names[label - 1], mask) for label, mask in photo.masks()]
        prediction = {"model_version": f"pnp-ovss {photo.model}".strip(), "result": result}
        self._tasks.append({"data": {"image": photo_url(photo.file_name)}, "predictions": [prediction]})
        return len(result)

    def close(self) -> None:
        """Write both files."""
        write_atomically(self._out, json_bytes(self._tasks))
        write_atomically(self._out.with_suffix(".xml"), label_config(self._names).encode())


def label_config(class_names: tuple[str, ...]) -> str:
    """The labelling interface: an image, and a brush for each class in our colour."""
    colours = palette(len(class_names))[1:].tolist()
    labels = [
        f'    <Label value={quoteattr(name)} background="#{r:02X}{g:02X}{b:02X}"/>'
        for name, (r, g, b) in zip(class_names, colours, strict=True)
    ]
    brushes = ['  <BrushLabels name="tag" toName="image">', *labels, "  </BrushLabels>"]
    return "\n".join(["<View>", '  <Image name="image" value="$image" zoom="true"/>', *brushes, "</View>"]) + "\n"


def photo_url(file_name: str) -> str:
    """The address of a photo; every letter that means something else there, or is not ASCII, is percent-encoded.

    >>> photo_url("a b/cat #1.jpg")
    '/data/local-files/?d=a%20b/cat%20%231.jpg'
    """
    return PHOTO_PREFIX + quote(os.fsencode(file_name))


def brush_region(
    photo: str, name: str, mask: NDArray[np.bool_], *, tag: str = "tag", image: str = "image"
) -> dict[str, Any]:
    """A brush region of a class; its id is that of the photo's name and the class's. tag, image: names in the interface."""
    return {
        "id": hashlib.sha256(f"{photo}\n{name}".encode()).hexdigest()[:10],
        "type": "brushlabels",
        "from_name": tag,
        "to_name": image,
        "original_height": mask.shape[0],
        "original_width": mask.shape[1],
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
