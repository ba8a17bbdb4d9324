"""One HTML page of a batch: photos with their masks, evenly sampled, and the failures. It needs no other file."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pnp_ovss.batch.folder import BatchFolder
from pnp_ovss.batch.report import Counts
from pnp_ovss.batch.sources import PhotoReader
from pnp_ovss.errors import ImageError
from pnp_ovss.files import write_atomically
from pnp_ovss.images import read_image, resize_to
from pnp_ovss.masks.rasterise import rasterise
from pnp_ovss.overlay import draw_overlay
from pnp_ovss.palette import palette

THUMBNAIL_PX = 320
FAILURES = 100
"""Failed photos that are listed; the shards hold them all."""

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1400px;padding:0 1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse}td,th{padding:.15rem .8rem .15rem 0;text-align:left;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}
.sheet{display:grid;grid-template-columns:repeat(auto-fill,minmax(220px,1fr));gap:1rem;padding:0}
figure{margin:0}figure img{width:100%;height:auto;display:block;background:#eee}
figcaption{font-size:.8rem;overflow-wrap:anywhere}
.chip{display:inline-block;width:.8em;height:.8em;margin-right:.3em;border:1px solid #0006}
@media(prefers-color-scheme:dark){body{color:#eee;background:#111}}
"""


def write_contact_sheet(root: Path, counts: Counts, page: Path, photos: int) -> Path:
    """Write the page and return its path. Photos that are no longer there are shown as masks alone.

    Raises OutputError when it cannot be written.
    """
    folder = BatchFolder(root)
    names = list(counts.classes)
    shown, failed = _sample(folder, counts, photos)
    figures = "\n".join(_figure(folder, row, names) for row in shown)
    body = [
        f"<h1>Batch {html.escape(root.absolute().name)}</h1>",
        "".join(f"<p>{html.escape(line)}</p>" for line in counts.lines()),
        f"<h2>Classes</h2>{_classes_table(counts, names)}",
        f'<h2>Photos ({len(shown)} of {counts.ok})</h2><div class="sheet">{figures}</div>',
        f"<h2>Failed ({len(failed)} of {counts.failed} listed)</h2>{_failures_table(failed)}" if failed else "",
    ]
    text = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Batch report</title><style>{_STYLE}</style>'
    write_atomically(page, (text + "\n".join(body) + "</html>\n").encode("utf-8", "backslashreplace"))
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
        photo = _photo(folder, row["number"])
        if photo.shape[:2] != (row["height"], row["width"]):
            raise ImageError("it has another size now")
        image = resize_to(photo, labels.shape)
    except ImageError:
        image, note = np.full((*labels.shape, 3), 230, np.uint8), " (the photo is gone or has changed)"
    shares = dict.fromkeys(names, 0.0) | {c["name"]: c["share"] for c in found}
    picture = draw_overlay(image, labels, names, shares, legend=False)
    captions = "<br>".join(
        f"{_chip(names.index(c['name']) + 1, len(names))}{html.escape(c['name'])} {_percent(c['share'])}" for c in found
    )
    caption = f"{html.escape(row['id'])}{note}<br>{captions or 'none of the classes'}"
    image_tag = f'<img alt="{html.escape(row["id"])}" src="{_data_url(picture)}">'
    return f"<figure>{image_tag}<figcaption>{caption}</figcaption></figure>"


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


def _photo(folder: BatchFolder, number: int) -> np.ndarray:
    size = folder.inventory.shard_size
    _, ref = folder.inventory.shard(number // size)[number % size]
    return read_image(PhotoReader()(ref))


def _chip(label: int, classes: int) -> str:
    red, green, blue = palette(classes)[label]
    return f'<span class="chip" style="background:rgb({red},{green},{blue})"></span>'


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "&lt;1%"


def _data_url(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _classes_table(counts: Counts, names: list[str]) -> str:
    rows = [
        f'<tr><td>{_chip(label, len(names))}{html.escape(name)}<td class="n">{counts.classes[name][0]}'
        f'<td class="n">{counts.classes[name][1] / max(counts.ok, 1):.2%}'
        for label, name in enumerate(names, 1)
    ]
    return f"<table><tr><th>class<th>photos<th>pixels{''.join(rows)}</table>"


def _failures_table(failed: list[dict[str, Any]]) -> str:
    rows = [
        f"<tr><td>{html.escape(row['id'])}<td>{html.escape(row['cause'])}<td>{html.escape(row['error'])}"
        for row in failed
    ]
    return f"<table><tr><th>photo<th>cause<th>error{''.join(rows)}</table>"
