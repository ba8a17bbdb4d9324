"""What a run of `pnp-ovss segment` left behind, read back with one list of classes for all its photos."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.datasets.masks import read_indexed
from pnp_ovss.errors import DatasetError
from pnp_ovss.palette import MAX_CLASSES

LABELS_SUFFIX = ".labels.png"


@dataclass(frozen=True)
class RunPhoto:
    """One photo's result on disk.

    stem: of its files in the run, unique there. file_name: the photo's name; of photos with one name in different
    folders the later ones have the stem's number in it. size: (H, W) px. path: the label image.
    table: (K + 1,), the run's label of each of the file's labels.
    """

    stem: str
    file_name: str
    size: tuple[int, int]
    path: Path
    table: tuple[int, ...]
    model: str = ""

    def labels(self) -> NDArray[np.int32]:
        """(H, W), 0 = background, i = the run's i-th class. Raises DatasetError when the file cannot be trusted."""
        values = read_indexed(self.path)
        if values.shape != self.size:
            raise DatasetError(f"{self.path} is {_by(values.shape)}, its JSON says {_by(self.size)}; segment it again")
        if values.max() >= len(self.table):
            raise DatasetError(
                f"{self.path} holds label {values.max()}, its JSON has {len(self.table) - 1} classes; segment it again"
            )
        return np.asarray(self.table, dtype=np.int32)[values]

    def masks(self) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        """(label, (H, W) bool) of the classes found, by label; background is none."""
        labels = self.labels()
        for label in np.unique(labels[labels > 0]):
            yield int(label), labels == label


@dataclass(frozen=True)
class Run:
    """Photos with masks. class_names: the i-th, from 1, is label i of every photo."""

    class_names: tuple[str, ...]
    photos: tuple[RunPhoto, ...]


def read_run(folder: str | Path, class_names: Sequence[str] = ()) -> Run:
    """The results in a folder that `pnp-ovss segment --out` wrote, in the order of their file names.

    Photos that were asked for different classes share one list: `class_names` first, so that ids can be pinned for
    several runs, then each photo's classes in their order, as they are met. Names that differ in case are one class.
    Raises DatasetError when the folder holds no results or damaged ones.
    """
    folder = Path(folder)
    found = sorted(folder.glob(f"*{LABELS_SUFFIX}"), key=_stem) if folder.is_dir() else []
    if not found:
        what = f"holds no *{LABELS_SUFFIX}" if folder.is_dir() else "is not a folder"
        raise DatasetError(f"{folder} {what}; give the --out folder of `pnp-ovss segment`")
    records = [(path, _read_record(path)) for path in found]
    names = _union([class_names, *(_names(record) for _, record in records)])
    if len(names) > MAX_CLASSES:
        raise DatasetError(f"{folder} holds {len(names)} different classes; the limit is {MAX_CLASSES}: split the run")
    ids = {name.casefold(): i for i, name in enumerate(names, 1)}
    return Run(names, tuple(_photo(path, record, ids) for path, record in records))


def _read_record(path: Path) -> dict[str, Any]:
    source = path.with_name(f"{_stem(path)}.json")
    try:
        record = json.loads(source.read_text("utf-8"))
        height, width = record["size"]
        ids = [entry["id"] for entry in record["classes"]]
        sound = isinstance(height, int) and isinstance(width, int) and ids == list(range(1, len(ids) + 1))
        sound = sound and isinstance(record["image"], str) and all(isinstance(n, str) for n in _names(record))
    except OSError as error:
        raise DatasetError(
            f"{path} has no {source.name} beside it ({error.strerror}); segment the photo again"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{source} is not a result of `pnp-ovss segment` ({error!r})") from error
    if not sound:
        raise DatasetError(
            f"{source} is not a result of `pnp-ovss segment`: image, size or class ids are not as written"
        )
    return record


def _stem(path: Path) -> str:
    return path.name.removesuffix(LABELS_SUFFIX)


def _names(record: dict[str, Any]) -> list[str]:
    return [entry["name"] for entry in record["classes"]]


def _union(lists: Iterable[Sequence[str]]) -> tuple[str, ...]:
    first: dict[str, str] = {}
    for names in lists:
        for name in names:
            first.setdefault(name.casefold(), name)
    return tuple(first.values())


def _photo(path: Path, record: dict[str, Any], ids: dict[str, int]) -> RunPhoto:
    stem = _stem(path)
    image = Path(record["image"])
    return RunPhoto(
        stem=stem,
        file_name=image.name if image.stem == stem else stem + image.suffix,
        size=(record["size"][0], record["size"][1]),
        path=path,
        table=(0, *(ids[name.casefold()] for name in _names(record))),
        model=str(record.get("model", "")),
    )


def _by(size: tuple[int, ...]) -> str:
    return f"{size[1]} x {size[0]} px"
