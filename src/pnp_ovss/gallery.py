"""The paper's Fig. 1 and 5: photos, their masks and, where there is one, the ground truth, side by side."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pnp_ovss.datasets.base import VOID
from pnp_ovss.datasets.masks import IndexedMask, label_table
from pnp_ovss.errors import DatasetError
from pnp_ovss.files import write_atomically, writing
from pnp_ovss.masks.labels import class_shares
from pnp_ovss.overlay import MAX_SIDE_PX, draw_overlay
from pnp_ovss.segmentation import Segmentation

TILE_PX = 400
_GAP_PX, _LINE_PX, _FONT_PX = 10, 24, 15
_PICTURES = (".photo.jpg", ".truth.png")
_ENDINGS = (".labels.png", ".png", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True)
class Row:
    """One photo of the gallery.

    truth: (H, W) labels as `result.labels`, `VOID` where unknown, or None. caption: what stands below its pictures.
    """

    stem: str
    result: Segmentation
    truth: NDArray[np.int32] | None = None
    caption: str = ""


def read_truth(folder: Path, photo: Path, result: Segmentation) -> NDArray[np.int32] | None:
    """The ground truth of a photo in a folder, or None where there is no file of its name.

    It is STEM.png (or .labels.png, .tif, .bmp) with indexed or grey values: 0 background, i the i-th asked class,
    255 (65535 in 16 bit) unknown. Raises DatasetError for other values or another size.
    """
    found = [path for ending in _ENDINGS if (path := folder / f"{photo.stem}{ending}").is_file()]
    if not found:
        return None
    count = len(result.class_names)
    void = (VOID,) if count >= 255 else (255, VOID)
    labels = IndexedMask(found[0], label_table({i: i for i in range(count + 1)}, void=void))()
    if labels.shape != result.labels.shape:
        (h, w), (height, width) = labels.shape, result.labels.shape
        raise DatasetError(f"{found[0]} is {w} x {h} px, its photo {width} x {height} px; make them equal")
    return labels


def save_gallery(rows: Sequence[Row], folder: Path, tile_px: int = TILE_PX) -> tuple[Path, Path]:
    """Write gallery.png, its pictures `tile_px` long, and gallery.html with what it shows; returns the two paths.

    The folder already holds the results (`Segmentation.save`) of the rows' stems. Raises OutputError.
    """
    png, page = folder / "gallery.png", folder / "gallery.html"
    with writing(folder):
        draw_grid(rows, tile_px).save(png)
        for row in rows:
            photo = Image.fromarray(row.result.image)
            photo.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
            photo.save(folder / f"{row.stem}.photo.jpg", quality=90)
            if row.truth is not None:
                _overlay(row.result.image, row.truth, row.result.class_names).save(folder / f"{row.stem}.truth.png")
        write_atomically(page, render_page(rows))
    return png, page


def gallery_names(stems: Sequence[str]) -> list[str]:
    """The files that `save_gallery` may write for rows of these stems."""
    return ["gallery.png", "gallery.html", *(f"{stem}{ending}" for stem in stems for ending in _PICTURES)]


def draw_grid(rows: Sequence[Row], tile_px: int = TILE_PX) -> Image.Image:
    """One picture of all rows: photo, masks with legend, ground truth; a column without any truth is left out.

    tile_px: the longer side of each picture, at least `overlay.MIN_SIDE_PX`. A row's caption stands below it.
    """
    heads = _heads(rows)
    strips = [_strip(row, len(heads), tile_px) for row in rows]
    width = len(heads) * (tile_px + _GAP_PX) + _GAP_PX
    sheet = Image.new("RGB", (width, _LINE_PX + sum(s.height + _GAP_PX for s in strips)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_PX)
    for column, head in enumerate(heads):
        pen.text((_GAP_PX + column * (tile_px + _GAP_PX), 4), head, fill="black", font=font)
    y = _LINE_PX
    for strip in strips:
        sheet.paste(strip, (_GAP_PX, y))
        y += strip.height + _GAP_PX
    return sheet


def _heads(rows: Sequence[Row]) -> list[str]:
    first = rows[0].result.provenance
    heads = ["photo", f"PnP-OVSS ({first.model}, policy {first.policy})"]
    return [*heads, "ground truth"] if any(row.truth is not None for row in rows) else heads


def _strip(row: Row, columns: int, tile_px: int) -> Image.Image:
    photo, names = _tile(row.result.image, tile_px), row.result.class_names
    pixels = np.asarray(photo)
    tiles = [photo, _overlay(pixels, row.result.labels, names)]
    if row.truth is not None:
        tiles.append(_overlay(pixels, row.truth, names))
    width, height = columns * (tile_px + _GAP_PX) - _GAP_PX, max(tile.height for tile in tiles)
    font = ImageFont.load_default(_FONT_PX)
    lines = _wrap(row.caption, width, font)
    strip = Image.new("RGB", (width, height + _LINE_PX * len(lines)), "white")
    for column, tile in enumerate(tiles):
        strip.paste(tile, (column * (tile_px + _GAP_PX), 0))
    pen = ImageDraw.Draw(strip)
    for number, line in enumerate(lines):
        pen.text((0, height + number * _LINE_PX + 2), line, fill="black", font=font)
    return strip


def _wrap(text: str, width_px: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> list[str]:
    """The words of a text in lines of at most this width; a longer word has a line of its own."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width_px:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _tile(image: NDArray[np.uint8], side_px: int) -> Image.Image:
    picture = Image.fromarray(image)
    scale = side_px / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _overlay(image: NDArray[np.uint8], labels: NDArray[np.integer], names: Sequence[str]) -> Image.Image:
    """Masks over the photo with shares of the known pixels; unknown pixels stay bare."""
    known = np.where(labels == VOID, 0, labels)
    return draw_overlay(image, known, names, class_shares(labels, names, void=VOID))


_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>PnP-OVSS gallery</title>
<style>
body {{ font: 16px/1.4 system-ui, sans-serif; margin: 1rem auto; max-width: 80rem; padding: 0 1rem; color: #111; }}
section {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: .75rem; }}
figure {{ margin: 0; }} img {{ width: 100%; height: auto; }} h2 {{ font-size: 1rem; margin: 1.5rem 0 .25rem; }}
figcaption {{ color: #555; }}
</style></head>
<body><h1>PnP-OVSS gallery</h1>
<p>{caption}</p>
{rows}
</body></html>
"""


def render_page(rows: Sequence[Row]) -> str:
    """The HTML page: each picture a link to its file, what it shows as text; no script, nothing from elsewhere."""
    first = rows[0].result.provenance
    asked = f"model {first.model}, method {first.method}, class policy {first.policy}, {len(rows)} photos"
    return _PAGE.format(caption=html.escape(asked), rows="\n".join(_section(row) for row in rows))


def _section(row: Row) -> str:
    found = _found(row.result.shares)
    figures = [
        _figure(f"{row.stem}.photo.jpg", "photo", f"the photo {row.result.image_name}"),
        _figure(f"{row.stem}.overlay.png", "PnP-OVSS", f"masks: {found}"),
    ]
    if row.truth is not None:
        known = _found(class_shares(row.truth, row.result.class_names, void=VOID))
        figures.append(_figure(f"{row.stem}.truth.png", "ground truth", f"ground truth: {known}"))
    title = html.escape(f"{row.result.image_name}: {found}")
    caption = f"<p>{html.escape(row.caption)}</p>\n" if row.caption else ""
    return f"<h2>{title}</h2>\n{caption}<section>\n" + "\n".join(figures) + "\n</section>"


def _figure(name: str, caption: str, alt: str) -> str:
    link = html.escape(quote(os.fsencode(name)))
    picture = f'<img src="{link}" alt="{html.escape(alt)}" loading="lazy">'
    return f'<figure><a href="{link}">{picture}</a><figcaption>{caption}</figcaption></figure>'


def _found(found: Mapping[str, float]) -> str:
    named = sorted(((share, name) for name, share in found.items() if share), reverse=True)
    return ", ".join(f"{name} {share:.1%}" for share, name in named) or "none of the classes"
