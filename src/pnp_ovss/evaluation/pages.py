"""Reports as pages: Markdown for repositories, one self-contained HTML file for people."""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pnp_ovss.datasets.base import VOID
from pnp_ovss.evaluation.tables import DASH, Table
from pnp_ovss.files import below, write_atomically, writing
from pnp_ovss.masks.labels import class_shares

_BAR = 30
_EXAMPLE_PX = 480
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .15rem .7rem; text-align: left }
tr:nth-child(even) { background: #f4f4f4 } th { border-bottom: 1px solid #999 } .n { text-align: right }
.bar { background: #0072b2; height: .8rem; display: inline-block } figure { margin: 1rem 0 } img { max-width: 100% }
.note, figcaption { color: #555; font-size: .9em }
"""


@dataclass(frozen=True)
class Example:
    """One image with its ground truth and our labels, drawn side by side."""

    id: str
    score: float
    """Mean IoU of the image by itself, in [0, 1]."""
    picture: Image.Image

    @property
    def caption(self) -> str:
        """Under the picture."""
        return f"{self.id}: mIoU {100 * self.score:.1f}; left the ground truth, right the answer"


def draw_example(
    id: str, score: float, image: NDArray[np.uint8], maps: Sequence[NDArray[np.integer]], names: Sequence[str]
) -> Example:
    """Overlays of the ground truth and the answer, in that order in `maps`; void is shown as no class."""
    from pnp_ovss.overlay import draw_overlay

    parts = []
    for labels in maps:
        shown = np.where(labels == VOID, 0, labels)
        overlay = draw_overlay(image, shown, names, class_shares(shown, names))
        parts.append(overlay.resize((_EXAMPLE_PX, round(overlay.height * _EXAMPLE_PX / overlay.width))))
    sheet = Image.new("RGB", (len(parts) * (_EXAMPLE_PX + 8) - 8, max(part.height for part in parts)), "white")
    for index, part in enumerate(parts):
        sheet.paste(part, (index * (_EXAMPLE_PX + 8), 0))
    return Example(id, score, sheet)


def markdown_table(table: Table) -> str:
    """A table in GitHub's Markdown, its title a heading, its notes below."""
    rule = [":--" if index < table.text_columns else "--:" for index in range(len(table.columns))]
    lines = [f"### {table.title}", "", *map(_markdown_row, (table.columns, rule, *table.rows)), ""]
    return "\n".join([*lines, *(f"{note}  " for note in table.notes), ""])


def markdown_page(title: str, tables: Sequence[Table], bars: Table | None, pictures: Sequence[tuple[str, str]]) -> str:
    """A report; `bars` is a table whose last column is per cent, `pictures` pairs of a file name and a caption."""
    parts = [f"# {title}\n", *map(markdown_table, tables)]
    if bars is not None:
        drawn = tuple((*row, "█" * round(_width(row) * _BAR)) for row in bars.rows)
        parts.append(markdown_table(Table(bars.title, (*bars.columns, ""), drawn, bars.notes)))
    parts += [f"![{caption}]({name})\n\n{caption}\n" for name, caption in pictures]
    return "\n".join(parts)


def html_page(title: str, tables: Sequence[Table], bars: Table | None, examples: Sequence[Example]) -> str:
    """The same as one file with everything in it."""
    body = [f"<h1>{html.escape(title)}</h1>", *(_html_table(table) for table in tables)]
    if bars is not None:
        body.append(_html_table(bars, bars=True))
    for example in examples:
        caption = html.escape(example.caption)
        picture = f'<img src="{_data_url(example.picture)}" alt="{caption}">'
        body.append(f"<figure>{picture}<figcaption>{caption}</figcaption></figure>")
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(body) + "\n</body></html>\n"


def write_pages(
    report: Path, title: str, tables: Sequence[Table], bars: Table | None, examples: Sequence[Example]
) -> tuple[Path, Path]:
    """Write the pages beside `report.json`: report.md with pictures in report.examples/, and report.html."""
    folder = report.with_suffix(".examples")
    markdown, page = report.with_suffix(".md"), report.with_suffix(".html")
    pictures = []
    with writing(report):
        for example in examples:
            example.picture.save(below(folder, example.id, ".jpg"), quality=88)
            pictures.append((quote(f"{folder.name}/{example.id}.jpg"), example.caption))
    write_atomically(markdown, markdown_page(title, tables, bars, pictures))
    write_atomically(page, html_page(title, tables, bars, examples))
    return markdown, page


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _html_table(table: Table, *, bars: bool = False) -> str:
    kinds = ["" if index < table.text_columns else ' class="n"' for index in range(len(table.columns))]
    head = "".join(f"<th{kind}>{html.escape(cell)}</th>" for cell, kind in zip(table.columns, kinds, strict=True))
    rows = []
    for row in table.rows:
        cells = "".join(f"<td{kind}>{html.escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
        bar = f'<td><span class="bar" style="width:{20 * _width(row):.2f}rem"></span></td>' if bars else ""
        rows.append(f"<tr>{cells}{bar}</tr>")
    notes = "".join(f'<p class="note">{html.escape(note)}</p>' for note in table.notes)
    return f"<h2>{html.escape(table.title)}</h2><table><tr>{head}</tr>{''.join(rows)}</table>{notes}"


def _width(row: Sequence[str]) -> float:
    """The last cell, per cent, as a share; a dash is nothing."""
    return 0.0 if row[-1] == DASH else float(row[-1].split()[0]) / 100


def _data_url(picture: Image.Image) -> str:
    stream = BytesIO()
    picture.save(stream, format="JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
