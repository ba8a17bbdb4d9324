"""Pages that need no other host and no script: one template, one style, figures and tables of escaped text."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from PIL import Image

from pnp_ovss.pictures.palette import css_colour

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; color: #222; background: #fff }
h1 { font-size: 1.6rem } h2 { font-size: 1.1rem; margin: 1.5rem 0 .25rem }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .15rem .7rem; text-align: left; vertical-align: top }
tr:nth-child(even) { background: #8881 } th { border-bottom: 1px solid #999 }
.n { text-align: right; font-variant-numeric: tabular-nums } .bar { background: #0072b2; height: .8rem; display: inline-block }
.sheet { display: grid; grid-template-columns: repeat(auto-fit, minmax(var(--least), 1fr)); gap: .75rem }
figure { margin: 0 0 1rem } .sheet figure { max-width: 40rem }
img { max-width: 100%; height: auto } .sheet img { width: 100%; display: block }
.note, figcaption { color: #777; font-size: .9em; overflow-wrap: anywhere }
.chip { display: inline-block; width: .8em; height: .8em; margin-right: .3em; border: 1px solid #0006 }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #111 } a { color: #8bf } }
"""


def page(title: str, parts: Sequence[str]) -> str:
    """A whole page of HTML parts; the title is its heading, too."""
    view = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    head = f'<meta charset="utf-8">{view}<title>{escape(title)}</title><style>{_STYLE}</style>'
    body = "\n".join([f"<h1>{escape(title)}</h1>", *parts])
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def sheet(figures: Sequence[str], least: str) -> str:
    """Figures side by side, as many as fit when each has at least this width (CSS)."""
    return f'<div class="sheet" style="--least: {least}">\n' + "\n".join(figures) + "\n</div>"


def figure(source: str, alt: str, caption: str, *, link: bool = False) -> str:
    """A picture with alternative text and a caption (HTML); `link`: to the picture's own file."""
    picture = f'<img src="{source}" alt="{escape(alt)}" loading="lazy">'
    picture = f'<a href="{source}">{picture}</a>' if link else picture
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int) -> str:
    """Rows of cells (HTML) below their heads (text); after the first `text_columns` they are numbers."""
    kinds = ["" if place < text_columns else ' class="n"' for place in range(len(head))]
    first = "".join(f"<th{kind}>{escape(cell)}</th>" for cell, kind in zip(head, kinds, strict=True))
    lines = ["".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, kinds, strict=True)) for row in rows]
    return f"<table><tr>{first}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def chip(label: int) -> str:
    """A square in a label's colour."""
    return f'<span class="chip" style="background:{css_colour(label)}" aria-hidden="true"></span>'


def file_url(name: str) -> str:
    """The address of a file beside the page, whatever bytes its name has."""
    return escape(quote(os.fsencode(name)))


def data_url(picture: Image.Image, quality: int = 85) -> str:
    """The picture itself as an address: a JPEG of this quality."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
