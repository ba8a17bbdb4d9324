"""YOLO segmentation: `labels/STEM.txt` with a polygon a line, and `data.yaml` with the names.

Format: https://docs.ultralytics.com/datasets/segment/: class number (from 0) and x y pairs as shares of width and
height. Each connected region is a line of its own. YOLO knows no holes: they hang on a seam
(`contours.joined_outline`).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.export.run import Run, RunPhoto
from pnp_ovss.masks.contours import Ring, joined_outline, trace_regions
from pnp_ovss.outputs import OutputFolder

_INTO_PIXEL = 0.25
"""Corners lie so far inside their pixel: Ultralytics cuts the fraction off, supervision rounds, both to that pixel."""
_STRIP = (0.1, 0.4)
"""From where to where in its pixels the outline of a region one pixel wide runs, so that its box has an area."""


class YoloWriter:
    """A folder; it is meant to lie beside or around `images/`, whose names the label files have."""

    def __init__(self, run: Run, out: Path) -> None:
        self._names, self._out = run.class_names, OutputFolder(out).begin()

    def add(self, photo: RunPhoto) -> int:
        """A line for each region, the class's id minus 1 and the polygon; without masks an empty file."""
        lines = [
            f"{label - 1} {_coordinates(joined_outline(region, mask), photo.size)}"
            for label, mask in photo.masks()
            for region in trace_regions(mask)
        ]
        self._out.write(f"labels/{photo.stem}.txt", "".join(f"{line}\n" for line in lines).encode("ascii"))
        return len(lines)

    def close(self) -> None:
        """Write data.yaml. It has no `path`: without one the YAML's own folder counts, wherever training is started."""
        names = "".join(f"  {i}: {json.dumps(name, ensure_ascii=False)}\n" for i, name in enumerate(self._names))
        head = "# put the photos into images/, beside labels/\ntrain: images\nval: images\n"
        self._out.write("data.yaml", f"{head}names:\n{names}".encode())
        self._out.remove_earlier()


def _coordinates(ring: Ring, size: tuple[int, int]) -> str:
    shares = _inside_pixels(ring) / np.array([size[1], size[0]])
    return " ".join(f"{value:.7g}" for value in shares.ravel())


def _inside_pixels(ring: Ring) -> NDArray[np.float64]:
    """(n, 2) corners in pixels, (0, 0) the top left pixel's outer corner."""
    low, high = ring.min(axis=0), ring.max(axis=0)
    if (low < high).all():
        return np.add(ring, _INTO_PIXEL, dtype=np.float64)
    (left, top), (right, bottom) = low + _STRIP[0], high + _STRIP[1]
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
