"""`pnp-ovss video`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pnp_ovss.cli import options as o
from pnp_ovss.cli.screen import console, say
from pnp_ovss.errors import ImageError
from pnp_ovss.words import counted


@o.takes_segmenter
def video(
    film: Annotated[Path, typer.Argument(help="The film.", show_default=False)],
    classes: o.Classes = None,
    classes_file: o.ClassesFile = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for masks, overlay film and film.json.")] = Path(
        "film"
    ),
    every: Annotated[int, typer.Option("--every", min=1, max=1_000_000, help="Segment each n-th frame only.")] = 1,
    smooth: Annotated[
        float,
        typer.Option("--smooth", min=0, max=0.99, help="Share of the frames before in a frame's scores; 0 = none."),
    ] = 0.6,
    *,
    spec: o.SegmenterSpec,
) -> int:
    """Segment a film: its masks, and the film under them.

    The same command goes on after a stop.
    """
    from rich.progress import Progress

    from pnp_ovss.video.film import FilmConfig, segment_film

    spec, names = o.with_fixed_ids(spec, o.read_classes(classes, classes_file, automatic=True))
    if not film.is_file():
        raise ImageError(f"{film} is no file; give a film")
    with Progress(console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("segmenting", total=None)
        record = segment_film(
            spec.make(), film, names, out, FilmConfig(every=every, smooth=smooth),
            lambda done, total: bar.update(task, completed=done, total=total or None),
        )  # fmt: skip
    say(
        f"{counted(record['frames'], 'frame')}, {len(record['shares'])} segmented: {out / 'overlay.mp4'}, {out / 'masks'}"
    )
    return 0
