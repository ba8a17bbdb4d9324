"""The one way to the terminal: what users wrote is printed as it is, never as markup."""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table as Grid

if TYPE_CHECKING:
    from pnp_ovss.evaluation.tables import Table

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def take_any_text() -> None:
    """Let both streams print every text: what a terminal's encoding lacks becomes "?", a byte of no encoding \\xNN."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            unicode = (stream.encoding or "").lower().startswith("utf")
            stream.reconfigure(errors="backslashreplace" if unicode or stream is sys.stderr else "replace")


def drop_output() -> None:
    """Give up standard output, so that Python does not try once more to write to it when it ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def console(*, stderr: bool = False) -> Console:
    """A console that takes text literally, in tables and progress bars too."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def say(text: object, *, stderr: bool = False) -> None:
    """One line on standard output (or error), however long."""
    console(stderr=stderr).print(one_line(str(text)), soft_wrap=True)


def show(drawing: RenderableType, *, stderr: bool = False) -> None:
    """A table on standard output (or error)."""
    console(stderr=stderr).print(drawing)


def print_table(table: Table) -> None:
    """Draw a table of texts and figures, its notes below."""
    grid = Grid(title=table.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, head in enumerate(table.columns):
        grid.add_column(
            head, justify="left" if index < table.text_columns else "right", overflow="fold", no_wrap=index > 0
        )
    for row in table.rows:
        grid.add_row(*row)
    show(grid)
    for note in table.notes:
        say(f"  {note}")


def complain(message: object) -> None:
    """One line on standard error."""
    console(stderr=True).print(f"pnp-ovss: {one_line(str(message))}", soft_wrap=True)


def remark(text: object) -> None:
    """One line on standard error that is no complaint."""
    say(text, stderr=True)


def say_json(value: Any, *, indent: int | None = None) -> None:
    """A JSON value on standard output, in ASCII, which every terminal and pipe takes."""
    print(json.dumps(value, indent=indent), flush=True)


def one_line(text: str) -> str:
    """Line ends and other control characters as they are written in Python.

    >>> one_line("two\\nlines")
    'two\\\\nlines'
    """
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)
