"""`pnp-ovss segment` and `pnp-ovss demo`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import track
from rich.table import Table

from pnp_ovss.cli import options as o
from pnp_ovss.cli.photos import DEMO, check_any, check_folder, check_results, own_stems, owners_of, skimage_folder
from pnp_ovss.cli.pipes import PIPE, check_pipes, piped_photo, write_out
from pnp_ovss.cli.screen import complain, console, remark, say, say_json, show
from pnp_ovss.errors import OutputError, PnPError
from pnp_ovss.files import locked, shown
from pnp_ovss.outputs import LOCK, OutputFolder, result_names

if TYPE_CHECKING:
    from pnp_ovss.classes import Classes
    from pnp_ovss.segmentation import Segmentation

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")]
OutOrPipe = Annotated[
    Path, typer.Option("--out", "-o", help="Folder for the results; - = one PNG to standard output, all else to error.")
]
Picture = Annotated[
    str, typer.Option("--picture", help="What --out - writes: labels (a PNG of class ids in colours) or overlay.")
]
Tiles = Annotated[
    bool | None,
    typer.Option("--tiles/--no-tiles", help="Look at windows of a big photo, too; by itself above 24 megapixels."),
]
Piped = Mapping[Path, bytes]
"""The photo from standard input, by the path that stands for it."""
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object a photo and nothing else.")]
MAX_ABSENT = 20
"""Absent classes that a photo's table lists; those with the best match scores."""


@o.takes_segmenter
def segment(
    photos: Annotated[list[Path], typer.Argument(help="The photos; - = standard input.", show_default=False)],
    classes: o.Classes = None,
    classes_file: o.ClassesFile = None,
    out: OutOrPipe = Path("out"),
    picture: Picture = "labels",
    json_lines: JsonLines = False,
    tiles: Tiles = None,
    *,
    spec: o.SegmenterSpec,
) -> int:
    """Segment photos: labels, overlay and evidence of each.

    Exit code 0: all done; 1: some photos failed, the others are saved; 2: nothing could be done.
    """
    photos = list(dict.fromkeys(photos))
    check_pipes(photos, classes_file, out, picture, json_lines=json_lines)
    names = o.read_classes(classes, classes_file, automatic=True)
    piped = dict([piped_photo()]) if PIPE in photos else {}
    photos = [photo if photo != PIPE else next(iter(piped)) for photo in photos]
    check_any([photo for photo in photos if photo not in piped])
    if out == PIPE:
        return _to_pipe(spec, photos[0], names, picture, piped, tiles=tiles)
    check_folder(out)
    check_results(out, photos, own_stems(out, photos))
    jobs = [(photo, names) for photo in photos]
    failed = _run(spec, jobs, out, json_lines=json_lines, tiles=tiles, piped=piped)
    return 0 if not failed else 2 if failed == len(photos) else 1


@o.takes_segmenter
def demo(
    out: Out = Path("demo-out"),
    *,
    spec: o.SegmenterSpec,
) -> int:
    """Segment photographs that come with scikit-image. Some of the classes are absent."""
    folder = skimage_folder()
    check_folder(out)
    jobs = [(folder / name, o.read_classes(names, None)) for name, names in DEMO.items()]
    return 0 if not _run(spec, jobs, out) else 1


def _run(
    spec: o.SegmenterSpec,
    jobs: Sequence[tuple[Path, Classes]],
    out: Path,
    *,
    json_lines: bool = False,
    tiles: bool | None = False,
    piped: Piped | None = None,
) -> int:
    """Segment, save and print each job; returns how many failed."""
    segmented = _segmenting(spec, tiles, piped or {})
    stems, failed = own_stems(out, [photo for photo, _ in jobs]), 0
    bar = track(
        zip(jobs, stems, strict=True), "segmenting", total=len(jobs), console=console(stderr=True), transient=True,
        disable=json_lines or len(jobs) < 2,
    )  # fmt: skip
    with locked(out / LOCK):
        before = OutputFolder(out)
        owners = owners_of(before) | {stem: str(photo.absolute()) for stem, (photo, _) in zip(stems, jobs, strict=True)}
        made = before.begin((name for stem in stems for name in result_names(stem)), owners=owners)
        for (photo, names), stem in bar:
            try:
                result = segmented(photo, names)
                paths = result.save(out, stem)
            except OutputError:
                raise
            except PnPError as error:
                failed += 1
                made.add([], photo=str(photo.absolute()), error=str(error))
                _tell_failure(photo, error, json_lines=json_lines)
            else:
                made.add(paths.values(), photo=str(photo.absolute()))
                _tell_result(result, paths, json_lines=json_lines)
    return failed


def _to_pipe(
    spec: o.SegmenterSpec, photo: Path, names: Classes, picture: str, piped: Piped, *, tiles: bool | None
) -> int:
    """Segment one photo, its picture to standard output and its table to standard error."""
    from pnp_ovss.pictures.labels_image import labels_image, png_bytes

    result = _segmenting(spec, tiles, piped)(photo, names)
    _print_result(result, stderr=True)
    drawn = result.overlay() if picture == "overlay" else labels_image(result.labels, len(result.class_names))
    write_out(png_bytes(drawn))
    return 0


def _segmenting(spec: o.SegmenterSpec, tiles: bool | None, piped: Piped) -> Callable[[Path, Classes], Segmentation]:
    """What makes a photo's result; that it is looked at in windows is said, because it takes its time."""
    segmenter = spec.make()  # before anything else imports torch

    from pnp_ovss.candidates import Candidates
    from pnp_ovss.images import read_image
    from pnp_ovss.tiles import is_large, segment_any

    listed = Candidates(spec.candidates or {})

    def segmented(photo: Path, names: Classes) -> Segmentation:
        name = photo.name if photo in piped else str(photo)
        keep = None if spec.candidates is None else listed.of(name)
        image = read_image(piped.get(photo, photo))
        if tiles is None and is_large(image.shape[:2]):
            size = f"{image.shape[0] * image.shape[1] / 1e6:.0f} megapixels"
            remark(f"{photo.name}: {size}, looked at in windows; else --no-tiles")
        return segment_any(segmenter, image, names, tiles, keep=keep, image_name=name)

    return segmented


def _tell_failure(photo: Path, error: PnPError, *, json_lines: bool) -> None:
    """A photo that could not be segmented, and why."""
    if json_lines:
        say_json({"image": shown(photo), "error": shown(str(error))})
    else:
        complain(error)


def _tell_result(result: Segmentation, paths: dict[str, Path], *, json_lines: bool) -> None:
    """A photo's result and its files."""
    if json_lines:
        say_json({**result.to_dict(), "files": {kind: shown(path) for kind, path in paths.items()}})
        return
    _print_result(result)
    say("  " + "  ".join(map(shown, paths.values())))


def _print_result(result: Segmentation, *, stderr: bool = False) -> None:
    """Every class with its share and match, and what speaks against it; then how to go on."""
    made = result.provenance
    say(f"{result.image_name} (model {made.model}, policy {made.policy})", stderr=stderr)
    table = Table()
    table.add_column("class")
    table.add_column("pixels", justify="right")
    table.add_column("match", justify="right")
    table.add_column("")
    shares, scores = result.shares, result.match_scores
    absent = sorted((name for name in shares if not shares[name]), key=lambda name: -(scores[name] or 0.0))
    hidden = set(absent[MAX_ABSENT:])
    for name in (name for name in shares if name not in hidden):
        score, verdict = scores[name], result.verdict(name)
        share = f"{shares[name]:.1%}" if shares[name] else "-"
        table.add_row(name, share, "" if score is None else f"{score:.2f}", "" if verdict == "found" else verdict)
    if hidden:
        table.add_row(f"{len(hidden)} more, see the JSON", "-", "", "")
    show(table, stderr=stderr)
    if result.advice:
        say(f"  {result.advice}", stderr=stderr)
