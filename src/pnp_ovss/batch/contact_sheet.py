"""One HTML page of a batch: photos with their masks, evenly sampled, and the failures. It needs no other file."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from pnp_ovss.batch.folder import BatchFolder
from pnp_ovss.batch.report import Counts
from pnp_ovss.batch.sources import PhotoReader
from pnp_ovss.errors import ImageError
from pnp_ovss.files import write_atomically
from pnp_ovss.images import read_image, resize_to
from pnp_ovss.masks.rasterise import rasterise
from pnp_ovss.pictures import html
from pnp_ovss.pictures.overlay import draw_overlay

THUMBNAIL_PX = 320
MARK = "<!-- written by pnp-ovss batch-report -->"
"""What every such page holds near its start: no other file is replaced."""
FAILURES = 100
"""Failed photos that are listed; the shards hold them all."""


def write_contact_sheet(root: Path, counts: Counts, page: Path, photos: int) -> Path:
    """Write the page and return its path. Photos that are no longer there are shown as masks alone.

    Raises OutputError when it cannot be written.
    """
    folder = BatchFolder(root)
    names = list(counts.classes)
    shown, failed = _sample(folder, counts, photos)
    parts = [
        MARK,
        "".join(f"<p>{escape(line)}</p>" for line in counts.lines()),
        f"<h2>Classes</h2>{_classes_table(counts)}",
        f"<h2>Photos ({len(shown)} of {counts.ok})</h2>",
        html.sheet([_figure(folder, row, names) for row in shown], "14rem"),
    ]
    if failed:
        parts.append(f"<h2>Failed ({len(failed)} of {counts.failed} listed)</h2>{_failures_table(failed)}")
    write_atomically(page, html.page(f"Batch {root.absolute().name}", parts))
    return page


def _sample(folder: BatchFolder, counts: Counts, photos: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Ok rows, evenly spaced over all of them, and the first failed ones."""
    import pyarrow.parquet as pq

    wanted = set(np.linspace(0, counts.ok - 1, min(photos, counts.ok)).round().astype(int).tolist())
    shown, failed, seen = [], [], 0
    for path in folder.shards():
        statuses = pq.read_table(path, columns=["status"])["status"].to_pylist()
        places = []
        for place, status in enumerate(statuses):
            if (status == "ok" and seen in wanted) or (status != "ok" and len(failed) + len(places) < FAILURES):
                places.append(place)
            seen += status == "ok"
        for row in pq.read_table(path).take(places).to_pylist() if places else []:
            (shown if row["status"] == "ok" else failed).append(row)
    return shown, failed


def _figure(folder: BatchFolder, row: dict[str, Any], names: list[str]) -> str:
    found = sorted((c for c in row["classes"] if c["share"] > 0), key=lambda c: -c["share"])
    labels, note = _thumbnail_labels(row, found), ""
    try:
        size = folder.inventory.shard_size
        _, ref = folder.inventory.shard(row["number"] // size)[row["number"] % size]
        photo = read_image(PhotoReader()(ref))
        if photo.shape[:2] != (row["height"], row["width"]):
            raise ImageError("it has another size now")
        image = resize_to(photo, labels.shape)
    except ImageError:
        image, note = np.full((*labels.shape, 3), 230, np.uint8), " (the photo is gone or has changed)"
    picture = draw_overlay(image, labels, names, legend=False)
    captions = "<br>".join(f"{html.chip(c['id'])}{escape(c['name'])} {_percent(c['share'])}" for c in found)
    caption = f"{escape(row['id'])}{note}<br>{captions or 'none of the classes'}"
    return html.figure(html.data_url(picture, quality=80), row["id"], caption)


def _thumbnail_labels(row: dict[str, Any], found: list[dict[str, Any]]) -> np.ndarray:
    """The labels (h, w) uint16 at most 320 px long, from the run lengths."""
    height, width = row["height"], row["width"]
    scale = min(1.0, THUMBNAIL_PX / max(height, width))
    rows = (np.arange(max(1, round(height * scale))) / scale).astype(int).clip(0, height - 1)
    columns = (np.arange(max(1, round(width * scale))) / scale).astype(int).clip(0, width - 1)
    labels = np.zeros((len(rows), len(columns)), np.uint16)
    for entry in found:
        mask = rasterise({"size": [height, width], "counts": entry["rle"]}, height, width)
        labels[mask[np.ix_(rows, columns)]] = entry["id"]
    return labels


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "&lt;1%"


def _classes_table(counts: Counts) -> str:
    rows = [
        [f"{html.chip(label)}{escape(name)}", str(photos), f"{share / max(counts.ok, 1):.2%}"]
        for label, (name, (photos, share)) in enumerate(counts.classes.items(), 1)
    ]
    return html.table(["class", "photos", "pixels"], rows, text_columns=1)


def _failures_table(failed: list[dict[str, Any]]) -> str:
    rows = [[escape(row[name]) for name in ("id", "cause", "error")] for row in failed]
    return html.table(["photo", "cause", "error"], rows, text_columns=3)
