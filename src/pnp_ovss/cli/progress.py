"""The progress bar of an evaluation: images, running mIoU, time left."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pnp_ovss.cli.screen import console

if TYPE_CHECKING:
    from pnp_ovss.evaluation.metrics import Confusion


@contextmanager
def watching(title: str, has_background: bool) -> Generator[Callable[[int, int, Confusion], None]]:
    """A bar on standard error while the block runs; yields what `run` calls after each image."""
    from pnp_ovss.evaluation.metrics import compute

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("mIoU {task.fields[miou]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(stderr=True)) as bar:
        task = bar.add_task(title, total=None, miou="-")

        def show(done: int, total: int, confusion: Confusion) -> None:
            value = compute(confusion, background=has_background).miou
            bar.update(task, completed=done, total=total, miou="-" if value != value else f"{100 * value:.1f}")

        yield show
