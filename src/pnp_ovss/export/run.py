"""What `pnp-ovss segment` or `pnp-ovss batch` left behind, read back with one list of classes for all photos."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pnp_ovss.datasets.masks import read_indexed
from pnp_ovss.errors import ConfigError, DatasetError
from pnp_ovss.palette import MAX_CLASSES

LABELS_SUFFIX = ".labels.png"


@dataclass(frozen=True)
class RunPhoto:
    """One photo's result on disk.

    stem: of its files in an export, unique in the run, with its folders in a batch. file_name: the photo's name; of
    photos with one name in different folders, `segment` gave the later ones the stem's number, a batch has the
    folders. size: (H, W) px. read: its own labels (H, W), from 0 to K. table: (K + 1,), the run's label of each.
    """

    stem: str
    file_name: str
    size: tuple[int, int]
    read: Callable[[], NDArray[np.integer]]
    table: tuple[int, ...]
    model: str = ""

    def labels(self) -> NDArray[np.int32]:
        """(H, W), 0 = background, i = the run's i-th class. Raises DatasetError when the file cannot be trusted."""
        return np.asarray(self.table, dtype=np.int32)[self.read()]

    def masks(self) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        """(label, (H, W) bool) of the classes found, by label; background is none."""
        labels = self.labels()
        for label in np.unique(labels[labels > 0]):
            yield int(label), labels == label


@dataclass(frozen=True)
class Run:
    """Photos with masks. class_names: the i-th, from 1, is label i of every photo. left_out: photos without labels."""

    class_names: tuple[str, ...]
    photos: tuple[RunPhoto, ...]
    left_out: int = 0

    def without_specks(self, min_px: int) -> Run:
        """The same run, its photos read through `remove_specks`. Raises ConfigError for a negative size."""
        if min_px < 0:
            raise ConfigError(f"regions of at least {min_px} px; use 0 to keep all, 50 to leave out specks")
        if min_px < 2:
            return self
        photos = (replace(photo, read=partial(_read_clean, photo.read, min_px)) for photo in self.photos)
        return replace(self, photos=tuple(photos))


def read_run(folder: str | Path, class_names: Sequence[str] = ()) -> Run:
    """The results in a folder that `pnp-ovss segment --out` wrote, in the order of their file names, or a batch's.

    Photos that were asked for different classes share one list: `class_names` first, so that ids can be pinned for
    several runs, then each photo's classes in their order, as they are met. Names that differ in case are one class.
    Photos of a batch that failed, or whose shard is not finished, are left out and counted.
    Raises DatasetError when the folder holds no results or damaged ones.
    """
    folder = Path(folder)
    if (folder / "manifest.json").is_file():
        from pnp_ovss.export.batch_run import read_batch

        return read_batch(folder, class_names)
    found = sorted(folder.glob(f"*{LABELS_SUFFIX}"), key=_stem) if folder.is_dir() else []
    if not found:
        what = f"holds no *{LABELS_SUFFIX}" if folder.is_dir() else "is not a folder"
        raise DatasetError(f"{folder} {what}; give the --out folder of `pnp-ovss segment` or `pnp-ovss batch`")
    records = [(path, _read_record(path)) for path in found]
    names = one_list([class_names, *(_names(record) for _, record in records)])
    if len(names) > MAX_CLASSES:
        raise DatasetError(f"{folder} holds {len(names)} different classes; the limit is {MAX_CLASSES}: split the run")
    return Run(names, tuple(_photo(path, record, names) for path, record in records))


def one_list(lists: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """All names in the order they are met; names that differ in case are one, in its first spelling."""
    first: dict[str, str] = {}
    for names in lists:
        for name in names:
            first.setdefault(name.casefold(), name)
    return tuple(first.values())


def label_table(own: Sequence[str], names: Sequence[str]) -> tuple[int, ...]:
    """(K + 1,): for 0 and each of a photo's K own classes its place among `names`, from 1.

    >>> label_table(["Dog"], ["cat", "dog"])
    (0, 2)
    """
    ids = {name.casefold(): i for i, name in enumerate(names, 1)}
    return (0, *(ids[name.casefold()] for name in own))


def remove_specks(labels: NDArray[np.integer], min_px: int) -> NDArray[np.integer]:
    """(H, W) labels whose connected regions (edge to edge, background too) have at least `min_px` pixels.

    Smaller ones are taken over by the regions around them that stay. Unchanged if no region is large enough.

    >>> remove_specks(np.array([[1, 1, 1, 0], [1, 2, 1, 0], [1, 1, 1, 0]]), 2).tolist()
    [[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0]]
    """
    small = np.zeros(labels.shape, dtype=bool)
    for label in np.unique(labels):
        regions, _ = ndimage.label(labels == label)
        few = np.bincount(regions.ravel()) < min_px
        few[0] = False  # the pixels of other labels
        small |= few[regions]
    if small.all() or not small.any():
        return labels
    markers = np.pad(np.where(small, 0, labels.astype(np.int32) + 1), 1)
    walls = np.pad(np.zeros(labels.shape, dtype=np.uint8), 1, constant_values=255)  # SciPy's rows join at their ends
    return ndimage.watershed_ift(walls, markers)[1:-1, 1:-1] - 1  # markers grow edge by edge: nothing new is cut off


def beneath(folder: Path, name: str) -> Path:
    """The path of a file to be written, its folders made: a batch's stems have some."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


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


def _photo(path: Path, record: dict[str, Any], names: Sequence[str]) -> RunPhoto:
    stem = _stem(path)
    image = Path(record["image"])
    size = (record["size"][0], record["size"][1])
    return RunPhoto(
        stem=stem,
        file_name=image.name if image.stem == stem else stem + image.suffix,
        size=size,
        read=partial(_read_labels, path, size, len(record["classes"])),
        table=label_table(_names(record), names),
        model=str(record.get("model", "")),
    )


def _read_labels(path: Path, size: tuple[int, int], classes: int) -> NDArray[np.integer]:
    values = read_indexed(path)
    if values.shape != size:
        raise DatasetError(f"{path} is {_by(values.shape)}, its JSON says {_by(size)}; segment it again")
    if values.max() > classes:
        raise DatasetError(f"{path} holds label {values.max()}, its JSON has {classes} classes; segment it again")
    return values


def _read_clean(read: Callable[[], NDArray[np.integer]], min_px: int) -> NDArray[np.integer]:
    return remove_specks(read(), min_px)


def _by(size: tuple[int, ...]) -> str:
    return f"{size[1]} x {size[0]} px"
