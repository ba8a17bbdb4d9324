"""`pnp-ovss export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pnp_ovss.cli import options as o
from pnp_ovss.cli.screen import complain, say
from pnp_ovss.words import counted


def export(
    run_dir: Annotated[
        Path, typer.Argument(help="The --out folder of `pnp-ovss segment` or `pnp-ovss batch`.", show_default=False)
    ],
    to: Annotated[str, typer.Option("--to", help="coco, coco-panoptic, cvat, hf, label-studio, voc or yolo.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to; export-FORMAT in this folder if not given.")
    ] = None,
    min_region: Annotated[
        int | None,
        typer.Option(
            "--min-region",
            min=0,
            help="Regions and holes smaller than so many px go to what is around them; 0 keeps all. Left out, yolo "
            "has a limit of its own: 1/5000 of the photo.",
            show_default=False,
        ),
    ] = None,
    classes: o.Classes = None,
    classes_file: o.ClassesFile = None,
) -> int:
    """Write the masks of a run for another tool.

    Ids follow the classes' order. With --classes or --classes-file these come first, so that several runs share ids.
    """
    from pnp_ovss.export import default_out, export_run, read_run

    pinned = o.read_classes(classes, classes_file) if classes or classes_file else ()
    target = out or default_out(to)
    run = read_run(run_dir, [group[0] for group in pinned])
    written = export_run(run, to, target, min_region_px=min_region)
    for photo, error in written.failures:
        complain(f"{photo} is left out: {error}")
    counts = {"photo": len(run.photos) - len(written.failures), "class": len(run.class_names), "mask": written.masks}
    found = ", ".join(counted(number, noun) for noun, number in counts.items())
    if run.left_out:
        found += f"; left out: {counted(run.left_out, 'photo')} of the run, failed or not done"
    if run.older:
        found += f"; left out: {counted(run.older, 'result')} of earlier runs in {run_dir}"
    say(f"{target}: {found}")
    return 1 if written.failures else 0
