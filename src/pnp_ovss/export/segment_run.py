"""The results that `pnp-ovss segment` or `pnp-ovss gallery` left in a folder, as a run that every format can write."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.datasets.masks import read_indexed
from pnp_ovss.errors import DatasetError
from pnp_ovss.export.run import Run, RunPhoto, below_common, check_text, id_table, one_list
from pnp_ovss.files import read_json
from pnp_ovss.files import shown as path_text
from pnp_ovss.outputs import OutputFolder
from pnp_ovss.photo_files import without_ending
from pnp_ovss.words import counted

LABELS_SUFFIX = ".labels.png"


def read_segment_run(folder: Path, class_names: Sequence[str] = ()) -> Run:
    """What the last run into the folder made, by the list that it left there, in the order of file names.

    Where there is no list (results that `Segmentation.save` wrote), every *.labels.png counts. Raises DatasetError
    when there are no results, or damaged ones.
    """
    made = OutputFolder(folder)
    results = [entry for entry in made.entries if not entry.get("grey")]
    photos = {_stem(name): entry for entry in results for name in entry["files"] if name.endswith(LABELS_SUFFIX)}
    there = {_stem(path.name) for path in folder.glob(f"?*{LABELS_SUFFIX}")} if folder.is_dir() else set()
    stems = sorted(photos if made.has_list else there)
    if not stems:
        raise DatasetError(f"{folder} {_why_empty(folder, made)}")
    records = [_read_record(folder / f"{stem}{LABELS_SUFFIX}") for stem in stems]
    names = one_list([class_names, *map(_names, records)])
    places = [_place(stem, record, photos.get(stem, {})) for stem, record in zip(stems, records, strict=True)]
    file_names = _file_names(places) if made.has_list else _told_apart(_file_names(places), stems)
    found = [
        _photo(folder / f"{stem}{LABELS_SUFFIX}", name, record, names)
        for stem, name, record in zip(stems, file_names, records, strict=True)
    ]
    failed = sum("error" in entry for entry in results)
    older = sum(name.endswith(LABELS_SUFFIX) for name in made.earlier)
    files = tuple(file for photo in found for file in photo.files)
    return Run(names, tuple(found), folder, left_out=failed, older=older, files=files)


def _why_empty(folder: Path, made: OutputFolder) -> str:
    if not folder.is_dir():
        return "is not a folder; give the --out folder of `pnp-ovss segment` or `pnp-ovss batch`"
    if made.entries:
        return "holds no result: all photos of the last run into it failed; segment them again"
    return f"holds no *{LABELS_SUFFIX}; give the --out folder of `pnp-ovss segment` or `pnp-ovss batch`"


def _place(stem: str, record: dict[str, Any], entry: dict[str, Any]) -> PurePosixPath:
    """Where the photo is, by the run's list; by its record only its name is known."""
    if isinstance(photo := entry.get("photo"), str):
        return PurePosixPath(Path(photo).as_posix())
    name = PurePosixPath(record["image"])
    return name.with_name(stem + name.suffix) if name.name and path_text(stem) == name.stem else name


def _file_names(places: Sequence[PurePosixPath]) -> list[str]:
    known = [PurePosixPath(os.path.abspath(place)) if place.parent.parts else place for place in places]
    together = all(place.is_absolute() for place in known)
    return below_common(known) if together else [place.name for place in known]


def _told_apart(names: Sequence[str], stems: Sequence[str]) -> list[str]:
    """Each photo's name, or the stem of its files where it has none (an array) or another has the same."""
    often = Counter(names)
    return [
        name if name and often[name] == 1 else stem + name.removeprefix(without_ending(name))
        for name, stem in zip(names, stems, strict=True)
    ]


def _read_record(path: Path) -> dict[str, Any]:
    source = path.with_name(f"{_stem(path.name)}.json")
    try:
        record = read_json(source, error=DatasetError)
    except DatasetError as error:
        raise DatasetError(
            f"{path} has no {source.name} beside it that can be read ({error}); segment the photo again"
        ) from None
    try:
        height, width = record["size"]
        ids = [entry["id"] for entry in record["classes"]]
        sound = isinstance(height, int) and isinstance(width, int) and ids == list(range(1, len(ids) + 1))
        sound = sound and isinstance(record["image"], str) and all(isinstance(n, str) for n in _names(record))
        sound = sound and (not record["image"] or PurePosixPath(record["image"]).name != "")
    except (ValueError, LookupError, TypeError) as error:
        raise DatasetError(f"{source} is not a result of `pnp-ovss segment` ({error!r})") from error
    if not sound:
        raise DatasetError(
            f"{source} is not a result of `pnp-ovss segment`: image, size or class ids are not as written"
        )
    for name in _names(record):
        check_text(name, str(source))
    return record


def _stem(name: str) -> str:
    return name.removesuffix(LABELS_SUFFIX)


def _names(record: dict[str, Any]) -> list[str]:
    return [entry["name"] for entry in record["classes"]]


def _photo(path: Path, file_name: str, record: dict[str, Any], names: Sequence[str]) -> RunPhoto:
    size = (record["size"][0], record["size"][1])
    return RunPhoto(
        file_name=file_name,
        size=size,
        read=partial(_read_labels, path, size, len(record["classes"])),
        table=id_table(_names(record), names),
        model=str(record.get("model", "")),
        files=(path, path.with_name(f"{_stem(path.name)}.json"), path.with_name(f"{_stem(path.name)}.overlay.png")),
    )


def _read_labels(path: Path, size: tuple[int, int], classes: int) -> NDArray[np.integer]:
    values = read_indexed(path)
    if values.shape != size:
        raise DatasetError(f"{path} is {_by(values.shape)}, its JSON says {_by(size)}; segment it again")
    if values.max() > classes:
        raise DatasetError(
            f"{path} holds label {values.max()}, its JSON has {counted(classes, 'class')}; segment it again"
        )
    return values


def _by(size: tuple[int, ...]) -> str:
    return f"{size[1]} x {size[0]} px"
