"""`pnp-ovss gallery`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import track

from pnp_ovss.cli import options as o
from pnp_ovss.cli.photos import check_any, check_folder, check_results, owners_of
from pnp_ovss.cli.screen import complain, console, remark, say
from pnp_ovss.errors import DatasetError, ImageError, OutputError, PnPError
from pnp_ovss.outputs import OutputFolder, result_names, unique_stems

if TYPE_CHECKING:
    from pnp_ovss.gallery import Entry, Row
    from pnp_ovss.segmentation import Segmentation


@o.takes_segmenter
def gallery(
    photos: Annotated[list[Path] | None, typer.Argument(help="The photos.", show_default=False)] = None,
    classes: o.Classes = None,
    classes_file: o.ClassesFile = None,
    listed: Annotated[
        Path | None, typer.Option("--list", help="TOML file of photos, each with words of its own (docs/wild.md).")
    ] = None,
    grey: Annotated[bool, typer.Option("--grey", help="Every photo once more without its colours.")] = False,
    ground_truth: Annotated[
        Path | None, typer.Option("--ground-truth", help="Folder of label images named like the photos.")
    ] = None,
    tile: Annotated[int, typer.Option("--tile", min=320, max=2000, help="Side of a picture in gallery.png, px.")] = 400,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the gallery.")] = Path("gallery"),
    *,
    spec: o.SegmenterSpec,
) -> int:
    """Segment photos and lay them out beside their masks.

    As the paper's figures 1 and 5: photo, masks, ground truth where there is one.

    Writes gallery.png, gallery.html and what `segment` writes. Exit code 1: some photos failed and are left out.
    """
    from pnp_ovss.candidates import Candidates
    from pnp_ovss.files import locked
    from pnp_ovss.gallery import gallery_names, save_gallery
    from pnp_ovss.outputs import LOCK

    entries = _entries(photos or [], classes, classes_file, listed)
    if ground_truth is not None and not ground_truth.is_dir():
        raise DatasetError(f"--ground-truth {ground_truth} is not a folder; give one with STEM.png for each photo")
    check_folder(out)
    if ground_truth is not None and ground_truth.resolve() == out.resolve():
        raise OutputError(f"{out} is the folder of the ground truth; choose another --out")
    check_any([entry.photo for entry in entries])
    jobs = _jobs(entries, grey, OutputFolder(out))
    check_results(out, [entry.photo for entry in entries], [stem for _, stem in jobs])
    segmenter, candidates = spec.make(), Candidates(spec.candidates or {})
    rows = []
    with locked(out / LOCK):
        pages = gallery_names([stem for _, stem in jobs])
        names = [*pages, *(name for _, stem in jobs for name in result_names(stem))]
        before = OutputFolder(out)
        owners = owners_of(before) | {stem: str(_named(entry).absolute()) for entry, stem in jobs}
        made = before.begin(names, owners=owners)
        for entry, stem in track(
            jobs, "segmenting", console=console(stderr=True), transient=True, disable=len(jobs) < 2
        ):
            photo = {"photo": str(entry.photo.absolute()), "grey": entry.grey}
            try:
                keep = None if spec.candidates is None else candidates.of(str(entry.photo))
                result = segmenter(entry.load(), entry.classes, keep=keep, image_name=str(entry.photo))
                row = _row(result, entry, stem, ground_truth)
                made.add(result.save(out, stem).values(), **photo)
                rows.append(row)
            except OutputError:
                raise
            except PnPError as error:
                made.add([], **photo, error=str(error))
                complain(error)
        if not rows:
            return 2
        if ground_truth is not None and all(row.truth is None for row in rows):
            remark(
                f"{ground_truth} holds no ground truth of these photos: it would be called like a photo, as STEM.png"
            )
        for path in save_gallery(rows, out, tile):
            say(path)
        made.add(path for name in pages if (path := out / name).is_file())
    return 0 if len(rows) == len(jobs) else 1


def _entries(photos: list[Path], classes: str | None, classes_file: Path | None, listed: Path | None) -> list[Entry]:
    """The photos of the command line, then those of the list."""
    from pnp_ovss.gallery import Entry, read_list

    if not photos and listed is None:
        raise ImageError("no photos were given; name some, or give --list FILE.toml")
    given = photos or classes is not None or classes_file is not None
    names = o.read_classes(classes, classes_file, automatic=True) if given else None
    entries = [Entry(photo, names) for photo in photos] if names else []
    return entries + (read_list(listed, names) if listed is not None else [])


def _jobs(entries: list[Entry], grey: bool, made: OutputFolder) -> list[tuple[Entry, str]]:
    """Each entry and the stem of its files, none of them another photo's in the folder; with --grey every photo twice."""
    from pnp_ovss.gallery import with_grey

    entries = with_grey(entries) if grey else entries
    return list(zip(entries, unique_stems(map(_named, entries), owners_of(made)), strict=True))


def _named(entry: Entry) -> Path:
    """Its photo's path, of which a grey copy has one of its own."""
    photo = entry.photo
    return photo.with_name(f"{photo.stem}-grey{photo.suffix}") if entry.grey else photo


def _row(result: Segmentation, entry: Entry, stem: str, ground_truth: Path | None) -> Row:
    from pnp_ovss.gallery import Row, read_truth

    light = replace(result, scores=result.scores[:0].copy(), maps=result.maps[:0].copy())  # many rows fit in memory
    return Row(
        stem, light, None if ground_truth is None else read_truth(ground_truth, entry.photo, result), entry.caption
    )
