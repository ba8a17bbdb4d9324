"""Reports as pages: Markdown for repositories, one self-contained HTML file for people."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from pnp_ovss.evaluation.examples import Example
from pnp_ovss.evaluation.tables import DASH, Table
from pnp_ovss.files import below, write_atomically, writing
from pnp_ovss.pictures import html

_BAR = 30
_BAR_HTML = '<span class="bar" style="width:{:.2f}rem"></span>'


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
    parts = [_html_table(table) for table in tables]
    parts += [] if bars is None else [_html_table(bars, bars=True)]
    for example in examples:
        parts.append(html.figure(html.data_url(example.picture), example.caption, escape(example.caption)))
    return html.page(title, parts)


def write_pages(
    report: Path, title: str, tables: Sequence[Table], bars: Table | None, examples: Sequence[Example]
) -> None:
    """Write the pages beside `report.json`: report.md with pictures in report.examples/, and report.html."""
    folder, pictures = report.with_suffix(".examples"), []
    with writing(report):
        for example in examples:
            example.picture.save(below(folder, example.id, ".jpg"), quality=88)
            pictures.append((quote(f"{folder.name}/{example.id}.jpg"), example.caption))
    write_atomically(report.with_suffix(".md"), markdown_page(title, tables, bars, pictures))
    write_atomically(report.with_suffix(".html"), html_page(title, tables, bars, examples))


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _html_table(table: Table, *, bars: bool = False) -> str:
    rows = [[*map(escape, row), *([_BAR_HTML.format(20 * _width(row))] if bars else [])] for row in table.rows]
    drawn = html.table([*table.columns, *([""] if bars else [])], rows, text_columns=table.text_columns)
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in table.notes)
    return f"<h2>{escape(table.title)}</h2>{drawn}{notes}"


def _width(row: Sequence[str]) -> float:
    """The last cell, per cent, as a share; a dash is nothing."""
    return 0.0 if row[-1] == DASH else float(row[-1].split()[0]) / 100
