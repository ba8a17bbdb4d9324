"""A result in the forms that other tools take: one line, a card for notebooks, polygons, supervision's detections."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pnp_ovss.errors import DependencyError
from pnp_ovss.masks.contours import Region, trace_regions
from pnp_ovss.masks.specks import SPECK_SHARE, remove_specks
from pnp_ovss.pictures.labels_image import png_bytes

if TYPE_CHECKING:
    import supervision

NAMED = 6
"""Names that a result's line lists of those found, and of those not."""
CARD_PX = 640
"""Width of a card's picture."""


class Row(NamedTuple):
    """What a card says of a class. colour: (r, g, b). share, match: in [0, 1] or None. verdict: `Segmentation.verdict`."""

    colour: tuple[int, int, int]
    name: str
    share: float
    match: float | None
    verdict: str


class Found(NamedTuple):
    """A class with pixels. mask: (H, W) bool. confidence: in [0, 1], None where it is not known."""

    label: int
    name: str
    mask: NDArray[np.bool_]
    confidence: float | None


def one_line(title: str, size: tuple[int, int], shares: dict[str, float]) -> str:
    """`Segmentation(cat.jpg, 300 x 451 px: cat 35.3 %; not found: dog)`; at most `NAMED` names of each kind."""
    found = [f"{name} {100 * share:.1f} %" for name, share in shares.items() if share]
    absent = [name for name, share in shares.items() if not share]
    text = _listed(found) if found else "nothing found"
    missing = f"; not found: {_listed(absent)}" if absent else ""
    where = f"{title!a}, " if title and not title.isprintable() else f"{title}, " if title else ""
    return f"Segmentation({where}{size[1]} x {size[0]} px: {text}{missing})"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def card(picture: Image.Image, title: str, rows: Sequence[Row]) -> str:
    """HTML of a result for notebooks: the overlay beside a table of its classes; what users wrote is escaped."""
    shown = picture.copy()
    shown.thumbnail((CARD_PX, 2 * CARD_PX))
    source = f"data:image/png;base64,{base64.b64encode(png_bytes(shown)).decode()}"
    head = "".join(f"<th style='text-align:left'>{text}</th>" for text in ("", "class", "share", "match", ""))
    return (
        "<div style='display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start'>"
        f"<img alt='{html.escape(title, quote=True)}' src='{source}'>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(map(_table_row, rows))}</tbody></table></div>"
    )


def _table_row(row: Row) -> str:
    colour = "#{:02x}{:02x}{:02x}".format(*row.colour)
    swatch = f"<span style='display:inline-block;width:1em;height:1em;background:{colour}'></span>" if row.share else ""
    share = f"{100 * row.share:.1f} %" if row.share else "–"
    match = "" if row.match is None else f"{row.match:.2f}"
    texts = (swatch, html.escape(row.name), share, match, "" if row.verdict == "found" else html.escape(row.verdict))
    return "<tr>" + "".join(f"<td style='text-align:left'>{text}</td>" for text in texts) + "</tr>"


def regions(mask: NDArray[np.bool_], min_region_px: int | None = None) -> list[Region]:
    """The connected regions of a (H, W) mask with their holes, without those (and holes) below a size.

    min_region_px: None: `SPECK_SHARE` of the photo's pixels; 0 keeps all.
    """
    least = ceil(SPECK_SHARE * mask.size) if min_region_px is None else min_region_px
    return trace_regions(remove_specks(mask.astype(np.uint8), least) > 0 if least > 1 else mask)


def detections(found: Sequence[Found], size: tuple[int, int]) -> supervision.Detections:
    """supervision's Detections, one a class. Raises DependencyError without supervision."""
    try:
        import supervision
    except ImportError:
        raise DependencyError("to_supervision needs supervision: pip install supervision") from None
    masks = np.array([entry.mask for entry in found], dtype=bool).reshape(-1, *size)
    known = [entry.confidence for entry in found if entry.confidence is not None]
    return supervision.Detections(
        xyxy=np.array([_corners(entry.mask) for entry in found], dtype=np.float32).reshape(-1, 4),
        mask=masks,
        confidence=np.array(known, dtype=np.float32) if len(known) == len(found) else None,
        class_id=np.array([entry.label - 1 for entry in found], dtype=int),
        data={"class_name": np.array([entry.name for entry in found], dtype=str)},
    )


def hugging_face(found: Sequence[Found]) -> list[dict[str, Any]]:
    """[{"score", "label", "mask"}], mask: PIL image of mode L, 255 = the class."""
    return [
        {"score": f.confidence, "label": f.name, "mask": Image.fromarray(f.mask.astype(np.uint8) * 255)} for f in found
    ]


def _corners(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """(x, y) of the first and the last pixel of a mask, as supervision's own `mask_to_xyxy` has them."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])
