"""Tables on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table as Grid

from pnp_ovss.cli.screen import say, show

if TYPE_CHECKING:
    from pnp_ovss.evaluation.tables import Table


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
