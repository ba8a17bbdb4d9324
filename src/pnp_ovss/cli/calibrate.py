"""`pnp-ovss calibrate`: a bank of unlabelled photos, by which the match of any name is calibrated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from pnp_ovss.cli import options as o
from pnp_ovss.cli.screen import console, remark, say
from pnp_ovss.errors import ImageError
from pnp_ovss.words import counted


@o.takes_segmenter
def calibrate(
    folder: Annotated[Path, typer.Argument(help="Folder of photos; nothing is read of them but pixels.")],
    photos: Annotated[int, typer.Option("--photos", min=8, max=100_000, help="So many of them, drawn at random.")] = 64,
    seed: o.Seed = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="The bank, for --set bank=FILE.")] = Path(
        "names.bank.safetensors"
    ),
    *,
    spec: o.SegmenterSpec,
) -> int:
    """Learn from unlabelled photos how sure a name must be.

    What match a name gets where it is absent says so; the result is a bank for `--set bank=FILE`.

    Started again with the same --out, it goes on where it stopped.
    """
    from pnp_ovss.calibration import calibrate as make_bank
    from pnp_ovss.calibration import draw_photos
    from pnp_ovss.photo_files import find_photos
    from pnp_ovss.presence import SHARE_OF_MEDIAN

    if not folder.is_dir():
        raise ImageError(f"{folder} is not a folder of photos")
    found, left_out = find_photos(folder)
    if left_out:
        remark(f"{folder}: {left_out.sentence()}")
    if not found:
        raise ImageError(f"{folder} holds no photo")
    segmenter = spec.make(bank="")
    drawn = draw_photos(found, photos, seed)
    bank = make_bank(
        segmenter,
        drawn,
        out,
        track=lambda paths: track(list(paths), "looking at photos", console=console(stderr=True), transient=True),
    )
    if len(bank) < len(drawn):
        remark(
            f"{len(drawn) - len(bank)} of {counted(len(drawn), 'photo')} left out: they cannot be read, or are copies"
        )
    say(
        f"{out}: {counted(len(bank), 'photo')} seen by {bank.model}; a name less {SHARE_OF_MEDIAN:g} of its median must reach "
        f"logit {bank.shift:.2f} to be found as often as by match_threshold {bank.match_threshold}"
    )
    return 0
