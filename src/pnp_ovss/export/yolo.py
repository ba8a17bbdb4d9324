"""YOLO segmentation: `labels/STEM.txt` with a polygon a line, and `data.yaml` with the names.

Format: https://docs.ultralytics.com/datasets/segment/: class number (from 0) and x y pairs as shares of width and
height. Each connected region is a line of its own. YOLO knows no holes: they hang on a seam (`contours.join_holes`).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from pnp_ovss.export.contours import Ring, join_holes, trace_regions
from pnp_ovss.export.run import Run, RunPhoto, beneath


def write(run: Run, out: Path) -> int:
    """Write the folder; returns how many polygons it holds. A photo without masks gets an empty file."""
    count = 0
    for photo in run.photos:
        lines = photo_lines(photo)
        beneath(out, f"labels/{photo.stem}.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")
        count += len(lines)
    names = "".join(f"  {i}: {json.dumps(name, ensure_ascii=False)}\n" for i, name in enumerate(run.class_names))
    head = "# put the photos into images/, beside labels/\npath: .\ntrain: images\nval: images\n"
    (out / "data.yaml").write_text(f"{head}names:\n{names}", "utf-8")
    return count


def photo_lines(photo: RunPhoto) -> list[str]:
    """A line for each region: the class's id minus 1 and the polygon."""
    return [
        f"{label - 1} {_coordinates(join_holes(region), photo.size)}"
        for label, mask in photo.masks()
        for region in trace_regions(mask)
    ]


def _coordinates(ring: Ring, size: tuple[int, int]) -> str:
    shares = ring / np.array([size[1], size[0]])
    return " ".join(f"{value:.6g}" for value in shares.ravel())
