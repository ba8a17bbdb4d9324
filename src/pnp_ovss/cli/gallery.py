"""`pnp-ovss gallery`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import track

from pnp_ovss.cli import options as o
from pnp_ovss.cli.segment import check_any, check_folder, unique_stems
from pnp_ovss.errors import DatasetError, OutputError, PnPError

if TYPE_CHECKING:
    from pnp_ovss.gallery import Row
    from pnp_ovss.segmentation import Segmentation


def gallery(
    photos: Annotated[list[Path], typer.Argument(help="The photos.", show_default=False)],
    classes: o.Classes = None,
    classes_file: o.ClassesFile = None,
    ground_truth: Annotated[
        Path | None, typer.Option("--ground-truth", help="Folder of label images named like the photos.")
    ] = None,
    model: o.Model = "pocket",
    method: o.Method = None,
    policy: o.Policy = None,
    size: o.Size = None,
    refine: o.Refine = None,
    device: o.Device = "auto",
    setting: o.Setting = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the gallery.")] = Path("gallery"),
) -> int:
    """Segment photos and lay them out like the paper's Fig. 1: photo, masks, ground truth where there is one.

    Writes gallery.png, gallery.html and what `segment` writes. Exit code 1: some photos failed and are left out.
    """
    from pnp_ovss.gallery import save_gallery

    names = o.read_classes(classes, classes_file)
    if ground_truth is not None and not ground_truth.is_dir():
        raise DatasetError(f"--ground-truth {ground_truth} is not a folder; give one with STEM.png for each photo")
    check_folder(out)
    check_any(photos)
    segmenter = o.make_segmenter(
        model, method=method, device=device, settings=setting, policy=policy, size_px=size, refine=refine
    )
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    jobs = list(zip(photos, unique_stems(photos), strict=True))
    rows = []
    for photo, stem in track(jobs, "segmenting", console=errors, transient=True, disable=len(jobs) < 2):
        try:
            result = segmenter(photo, names)
            result.save(out, stem)
            rows.append(_row(result, photo, stem, ground_truth))
        except OutputError:
            raise
        except PnPError as error:
            errors.print(f"pnp-ovss: {error}", markup=False)
    if not rows:
        return 2
    for path in save_gallery(rows, out):
        Console().print(str(path), soft_wrap=True, highlight=False)
    return 0 if len(rows) == len(jobs) else 1


def _row(result: Segmentation, photo: Path, stem: str, ground_truth: Path | None) -> Row:
    from pnp_ovss.gallery import Row, read_truth

    light = replace(result, scores=result.scores[:0].copy(), maps=result.maps[:0].copy())  # many rows fit in memory
    return Row(stem, light, None if ground_truth is None else read_truth(ground_truth, photo, result))
