"""The paper's Fig. 1 and 5: photos, their masks and, where there is one, the ground truth, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pnp_ovss.automatic import Automatic, asked_classes
from pnp_ovss.classes import Classes
from pnp_ovss.datasets.base import VOID
from pnp_ovss.datasets.masks import IndexedMask, label_table
from pnp_ovss.errors import ClassNameError, ConfigError, DatasetError
from pnp_ovss.files import read_toml, write_atomically, writing
from pnp_ovss.images import read_image
from pnp_ovss.masks.labels import class_shares
from pnp_ovss.pictures import html
from pnp_ovss.pictures.overlay import MAX_SIDE_PX, draw_overlay
from pnp_ovss.pictures.sheet import beside, fitted, on_white, stacked, words, wrapped
from pnp_ovss.segmentation import Segmentation
from pnp_ovss.words import counted

TILE_PX = 400
_GAP_PX, _LINE_PX, _FONT_PX = 10, 24, 15
_PICTURES = (".photo.jpg", ".truth.png")
_ENDINGS = (".labels.png", ".png", ".tif", ".tiff", ".bmp")
_KEYS = {"file": str, "classes": (str, list), "caption": str, "grey": bool}


@dataclass(frozen=True)
class Entry:
    """One photo of a gallery: its file, the classes that are asked of it, what stands below it, and whether in grey."""

    photo: Path
    classes: Classes
    caption: str = ""
    grey: bool = False

    def load(self) -> np.ndarray:
        """The photo, (H, W, 3) uint8; with `grey` its luma (ITU-R 601) in all three channels. Raises ImageError."""
        image = read_image(self.photo)
        return np.array(Image.fromarray(image).convert("L").convert("RGB")) if self.grey else image


def read_list(path: Path, classes: Classes | None = None) -> list[Entry]:
    """The entries of a TOML file: tables `[[photo]]` with `file`, `classes`, `caption` and `grey`.

    file: relative to the list's folder. classes: "cat, sofa" or a list of names or of [name, synonym, ...]; left out,
    the argument `classes`. caption: stands below the photo, after what was asked. Raises ConfigError for a file of
    another form, ClassNameError for impossible names.
    """
    data = read_toml(path, "the list")
    tables = data.get("photo")
    if set(data) != {"photo"} or not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables or [None]):
        raise ConfigError(f'the list {path} must consist of tables [[photo]] with file = "a.jpg" and classes = "cat"')
    return [_entry(table, path, number, classes) for number, table in enumerate(tables, 1)]


def _entry(table: dict[str, Any], path: Path, number: int, classes: Classes | None) -> Entry:
    where = f"the list {path}, photo {number}"
    for key, value in table.items():
        if key not in _KEYS:
            raise ConfigError(f"{where}: unknown key '{key}'; the keys are {', '.join(_KEYS)}")
        if not isinstance(value, _KEYS[key]):
            raise ConfigError(f"{where}: {key} = {value!r} is not possible")
    if "file" not in table:
        raise ConfigError(f'{where} has no file; write file = "a.jpg"')
    asked = asked_classes(table["classes"]) if "classes" in table else classes
    if asked is None:
        raise ClassNameError(f'{where} has no classes; write classes = "cat, sofa" or give --classes for all')
    words = asked.source if isinstance(asked, Automatic) else ", ".join(group[0] for group in asked)
    caption = f"Asked: {words}. {table.get('caption', '')}".strip()
    return Entry(path.parent / table["file"], asked, caption, table.get("grey", False))


def with_grey(entries: Sequence[Entry]) -> list[Entry]:
    """Every photo and after it, where the list does not ask for that anyway, the same without its colours."""
    doubled = []
    for entry in entries:
        doubled += [entry] if entry.grey else [entry, replace(entry, grey=True)]
    return doubled


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
    255 (65535 in 16 bit) unknown; it is turned with a photo that EXIF turns (`datasets.turns`). Raises DatasetError for
    other values, another size, or a turn that the size does not tell.
    """
    found = [path for ending in _ENDINGS if (path := folder / f"{photo.stem}{ending}").is_file()]
    if not found:
        return None
    count = len(result.class_names)
    void = (VOID,) if count >= 255 else (255, VOID)
    labels = IndexedMask(found[0], label_table({i: i for i in range(count + 1)}, void=void), photo)()
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
                truth = draw_overlay(row.result.image, row.truth, row.result.class_names, void=VOID)
                truth.save(folder / f"{row.stem}.truth.png")
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
    columns = beside(
        [words([head], tile_px, font_px=_FONT_PX, line_px=_LINE_PX, top_px=4) for head in heads], gap_px=_GAP_PX
    )
    strips = [_strip(row, columns.width, tile_px) for row in rows]
    inner = stacked([columns, *(on_white(s, (s.width, s.height + _GAP_PX)) for s in strips)])
    return on_white(inner, (inner.width + 2 * _GAP_PX, inner.height), (_GAP_PX, 0))


def _heads(rows: Sequence[Row]) -> list[str]:
    first = rows[0].result.provenance
    heads = ["photo", f"PnP-OVSS ({first.model}, policy {first.policy})"]
    return [*heads, "ground truth"] if any(row.truth is not None for row in rows) else heads


def _strip(row: Row, width_px: int, tile_px: int) -> Image.Image:
    photo, names = fitted(Image.fromarray(row.result.image), tile_px), row.result.class_names
    answers = [row.result.labels] if row.truth is None else [row.result.labels, row.truth]
    masks = [draw_overlay(np.asarray(photo), labels, names, void=VOID) for labels in answers]
    tiles = beside([photo, *masks], gap_px=_GAP_PX, cell_px=tile_px)
    lines = wrapped(row.caption, width_px, _FONT_PX)
    strip = stacked([tiles, words(lines, width_px, font_px=_FONT_PX, line_px=_LINE_PX, top_px=2)])
    return on_white(strip, (width_px, strip.height))


def render_page(rows: Sequence[Row]) -> str:
    """The HTML page: each picture a link to its file, what it shows as text; no script, nothing from elsewhere."""
    first = rows[0].result.provenance
    asked = f"model {first.model}, method {first.method}, class policy {first.policy}, {counted(len(rows), 'photo')}"
    return html.page("PnP-OVSS gallery", [f"<p>{escape(asked)}</p>", *map(_section, rows)])


def _section(row: Row) -> str:
    found = _found(row.result.shares)
    shown = [
        (".photo.jpg", "photo", f"the photo {row.result.image_name}"),
        (".overlay.png", "PnP-OVSS", f"masks: {found}"),
    ]
    if row.truth is not None:
        known = _found(class_shares(row.truth, row.result.class_names, void=VOID))
        shown.append((".truth.png", "ground truth", f"ground truth: {known}"))
    figures = [
        html.figure(html.file_url(f"{row.stem}{ending}"), alt, caption, link=True) for ending, caption, alt in shown
    ]
    title = escape(f"{row.result.image_name}: {found}")
    caption = f"<p>{escape(row.caption)}</p>\n" if row.caption else ""
    return f"<h2>{title}</h2>\n{caption}{html.sheet(figures, '16rem')}"


def _found(found: Mapping[str, float]) -> str:
    named = sorted(((share, name) for name, share in found.items() if share), reverse=True)
    return ", ".join(f"{name} {share:.1%}" for share, name in named) or "none of the classes"
