"""`pnp-ovss explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pnp_ovss.cli import options as o
from pnp_ovss.cli.screen import complain, say
from pnp_ovss.outputs import unique_stems


@o.takes_segmenter
def explain(
    photo: Annotated[Path, typer.Argument(help="The photo.", show_default=False)],
    classes: o.Classes = None,
    classes_file: o.ClassesFile = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the pictures.")] = Path("explain-out"),
    *,
    spec: o.SegmenterSpec,
) -> int:
    """Draw every stage and pass, as the paper's figures 2 to 4 do."""
    from pnp_ovss.explain import explain_photo, save_pictures

    names = o.read_classes(classes, classes_file, automatic=True)
    segmenter = spec.make()
    pictures = explain_photo(segmenter, photo, names)
    for path in save_pictures(pictures, out, unique_stems([photo])[0]):
        say(path)
    if not segmenter.config.drops:
        hint = "no Saliency DropOut here (drops = 0); --set drops=4 shows five passes"
        complain(hint)
    return 0
