"""What each target demands, in one table, and the check of a run against it before any work."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pnp_ovss.classes import class_rows, name_key
from pnp_ovss.errors import ConfigError, DatasetError, OutputError
from pnp_ovss.export.run import Run, RunPhoto
from pnp_ovss.files import shown as path_text
from pnp_ovss.masks.specks import SPECK_SHARE
from pnp_ovss.outputs import file_key, refuse_foreign, refuse_inputs
from pnp_ovss.pictures.palette import MAX_CLASSES
from pnp_ovss.words import counted


class Writer(Protocol):
    """Writes a run in one format: `Writer(run, out)`, then `add` for each photo, then `close`.

    A photo that `add` raises for is left out of the export; nothing of it may have been kept by then.
    """

    def add(self, photo: RunPhoto) -> int:
        """Write the photo; returns how many masks (YOLO: polygons) it has."""
        ...

    def close(self) -> None:
        """Write what stands for all photos together."""
        ...


@dataclass(frozen=True, kw_only=True)
class Format:
    """A target's rules.

    writer: "module:class" below this package. ending: of the one file that it writes, "" for a folder; mark: what such
    a file always holds, so that no other one is replaced; beside: endings of what is written with that file.
    background: whether label 0 has the name `background` there, so that no class may. colon: whether its files may
    hold a ":" (and a leading "#") in a name. class_rows: whether names stand there as lines of a class file. photo_lines:
    whether it lists photos, one a line. max_classes: what its values or our colours can tell apart. by_stem: it
    finds photos by their names without ending. speck_share: regions below this share of a photo's pixels are left to
    what is around them if no other size is asked for.
    """

    writer: str
    ending: str = ""
    mark: bytes = b""
    beside: tuple[str, ...] = ()
    background: bool = False
    colon: bool = True
    class_rows: bool = False
    photo_lines: bool = False
    max_classes: int | None = None
    by_stem: bool = False
    speck_share: float = 0.0


FORMATS = {
    "coco": Format(writer="coco:CocoWriter", ending=".json", mark=b"masks by PnP-OVSS"),
    "coco-panoptic": Format(writer="coco_panoptic:PanopticWriter", max_classes=MAX_CLASSES),
    "cvat": Format(
        writer="cvat:CvatWriter",
        ending=".zip",
        mark=b"labelmap.txt",
        background=True,
        colon=False,
        photo_lines=True,
        max_classes=MAX_CLASSES,
        by_stem=True,
    ),
    "hf": Format(writer="hf:HfWriter", background=True),
    "label-studio": Format(
        writer="label_studio:LabelStudioWriter",
        ending=".json",
        mark=b'"model_version": "pnp-ovss',
        beside=(".xml",),
        max_classes=MAX_CLASSES,
    ),
    "voc": Format(
        writer="voc:VocWriter",
        background=True,
        colon=False,
        class_rows=True,
        photo_lines=True,
        max_classes=254,
        by_stem=True,
    ),
    "yolo": Format(writer="yolo:YoloWriter", by_stem=True, speck_share=SPECK_SHARE),
}
"""VOC's masks have 8 bit, of which 0 is background and 255 void."""


def get_format(name: str) -> Format:
    """A format by name. Raises ConfigError."""
    if name not in FORMATS:
        raise ConfigError(f"unknown format '{name}'; choose from {', '.join(FORMATS)}")
    return FORMATS[name]


def check(run: Run, name: str, out: Path) -> None:
    """Raise what speaks against writing the run in this format to this place: ConfigError, DatasetError, OutputError."""
    form = get_format(name)
    _check_place(run, name, out)
    if form.max_classes is not None and len(run.class_names) > form.max_classes:
        raise ConfigError(
            f"the run has {counted(len(run.class_names), 'class')}; {name} tells {form.max_classes} apart: use coco, yolo or hf, "
            "or split the run"
        )
    _check_class_names(run.class_names, name)
    for photo in run.photos:
        if form.photo_lines and (set("\n\r") & set(photo.stem) or not photo.stem.strip()):
            raise DatasetError(f"photo {photo.name!r} cannot stand in {name}'s list of photos, one a line: rename it")
    _check_different(run.photos, lambda photo: photo.file_name, "are both results of one photo: remove one")
    if form.by_stem:
        what = f"would share one file in {name}, which knows photos by their names without ending: rename one"
        _check_different(run.photos, lambda photo: file_key(photo.stem), what)


def _check_class_names(class_names: Iterable[str], name: str) -> None:
    form = get_format(name)
    for class_name in class_names:
        if form.background and name_key(class_name) == "background":
            raise ConfigError(f"class '{class_name}' has the name of label 0 in {name}: rename it, or use coco or yolo")
        if not form.colon and (":" in class_name or class_name.startswith("#")):
            raise ConfigError(
                f"class name '{class_name}' cannot stand in {name}'s labelmap.txt (':' and a leading '#' separate): "
                "rename it"
            )
        if form.class_rows and class_rows([class_name]) != [(class_name,)]:
            raise ConfigError(
                f"class name '{class_name}' cannot stand in {name}'s dataset.toml (commas, semicolons and a lone '#' "
                "separate): rename it"
            )


def _check_place(run: Run, name: str, out: Path) -> None:
    form = get_format(name)
    ending = form.ending
    if ending and (out.is_dir() or not out.suffix):
        inside = out / f"export-{name}{ending}"
        raise ConfigError(f"format {name} is one {ending} file, and {out} names a folder: use {inside}")
    if not ending and out.is_file():
        raise OutputError(f"format {name} is a folder, and {out} is a file; choose another --out")
    if ending and out.suffix.lower() != ending:
        raise ConfigError(
            f"format {name} is one {ending} file; {out} has another ending: use {out.with_suffix(ending)}"
        )
    if not ending and out.resolve() == run.root.resolve():
        raise OutputError(f"{out} is the run itself; choose another --out, for example {out / name}")
    refuse_inputs([out, *map(out.with_suffix, form.beside)], run.files, "a file of the run")
    if ending:
        refuse_foreign(out, form.mark, f"{name} export", form.beside)


def _check_different(photos: Iterable[RunPhoto], key: Callable[[RunPhoto], str], what: str) -> None:
    first: dict[str, RunPhoto] = {}
    for photo in photos:
        other = first.setdefault(key(photo), photo)
        if other is not photo:
            names = f"{other.name} ({_read_from(other)}) and {photo.name} ({_read_from(photo)})"
            raise DatasetError(f"{names} {what}")


def _read_from(photo: RunPhoto) -> str:
    return path_text(photo.files[0].name) if photo.files else "no file"
