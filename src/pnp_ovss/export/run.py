"""A run as every format takes it: photos by name with labels on disk, and one list of classes for all of them."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.classes import name_key
from pnp_ovss.errors import ConfigError, DatasetError
from pnp_ovss.files import shown as path_text
from pnp_ovss.masks.specks import remove_specks
from pnp_ovss.outputs import LONGEST_BYTES
from pnp_ovss.photo_files import without_ending

Masks = list[tuple[int, NDArray[np.bool_]]]
"""(label, (H, W) bool) of the classes found, by label."""


@dataclass(frozen=True)
class RunPhoto:
    """One photo's result on disk.

    file_name: the photo's path below the folder that all photos of the run share; bytes that are no text stand in it
    as surrogates. size: (H, W) px. read: its own labels (H, W), from 0 to K. table: (K + 1,), the run's label of each.
    files: what is read.
    """

    file_name: str
    size: tuple[int, int]
    read: Callable[[], NDArray[np.integer]]
    table: tuple[int, ...]
    model: str = ""
    files: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        r"""`file_name` as text that any file can hold: bytes that are no UTF-8 as \xNN."""
        return path_text(self.file_name)

    @property
    def stem(self) -> str:
        """`file_name` without a photo's ending."""
        return without_ending(self.file_name)

    def labels(self) -> NDArray[np.int32]:
        """(H, W), 0 = background, i = the run's i-th class. Raises DatasetError when the file cannot be trusted."""
        return np.asarray(self.table, dtype=np.int32)[self.read()]

    def masks(self) -> Masks:
        """What `masks_of` finds in `labels`."""
        return masks_of(self.labels())


@dataclass(frozen=True)
class Run:
    """Photos with masks.

    class_names: the i-th, from 1, is label i of every photo. root: the folder that was read. left_out: photos that
    failed or are not done. older: results of earlier runs that lie in the folder and are not part of this one.
    """

    class_names: tuple[str, ...]
    photos: tuple[RunPhoto, ...]
    root: Path
    left_out: int = 0
    older: int = 0
    files: tuple[Path, ...] = ()

    def without_specks(self, min_px: int | None, share: float = 0.0) -> Run:
        """The same run, its photos read through `remove_specks`. Raises ConfigError for a negative size.

        min_px: the smallest region that stays; None: `share` of each photo's pixels.
        """
        if min_px is not None and min_px < 0:
            raise ConfigError(f"regions of at least {min_px} px; use 0 to keep all, 50 to leave out specks")

        def clean(photo: RunPhoto) -> RunPhoto:
            least = ceil(share * photo.size[0] * photo.size[1]) if min_px is None else min_px
            return replace(photo, read=lambda: remove_specks(photo.read(), least)) if least > 1 else photo

        return replace(self, photos=tuple(map(clean, self.photos)))


def masks_of(labels: NDArray[np.integer]) -> Masks:
    """The mask of each class in (H, W) labels, by label; background is none."""
    return [(int(label), labels == label) for label in np.unique(labels[labels > 0])]


def one_list(lists: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """All names in the order they are met; names that are one (`name_key`) stand in their first spelling."""
    first: dict[str, str] = {}
    for names in lists:
        for name in names:
            first.setdefault(name_key(name), name)
    return tuple(first.values())


def id_table(own: Sequence[str], names: Sequence[str]) -> tuple[int, ...]:
    """(K + 1,): for 0 and each of a photo's K own classes its place among `names`, from 1.

    >>> id_table(["Dog"], ["cat", "dog"])
    (0, 2)
    """
    ids = {name_key(name): i for i, name in enumerate(names, 1)}
    return (0, *(ids[name_key(name)] for name in own))


def below_common(paths: Sequence[PurePosixPath]) -> list[str]:
    """Each path below the folder that all of them share.

    >>> below_common([PurePosixPath("/p/a/x.png"), PurePosixPath("/p/x.png")])
    ['a/x.png', 'x.png']
    """
    shared = paths[0].parent
    for path in paths:
        while shared not in path.parents:
            shared = shared.parent
    return [path.relative_to(shared).as_posix() for path in paths]


def file_stems(photos: Iterable[RunPhoto]) -> dict[str, str]:
    """{file name: a name for its files} in an export that says which file is whose: the photo's stem as text.

    Numbered where letters alone would not tell two apart whatever their case, cut where no file may be so long.
    """
    taken: set[str] = set()
    found = {}
    for photo in photos:
        folder, _, last = path_text(photo.stem).rpartition("/")
        short = last.encode()[:LONGEST_BYTES].decode(errors="ignore")
        plain = stem = f"{folder}/{short}".lstrip("/")
        count = 1
        while stem.casefold() in taken:
            count += 1
            stem = f"{plain}-{count}"
        taken.add(stem.casefold())
        found[photo.file_name] = stem
    return found


def check_text(name: str, where: str) -> None:
    """Refuse class names that no file of names can hold. Raises DatasetError."""
    if not name.strip() or any(unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"} for letter in name):
        raise DatasetError(f"{where} has the class name {name!a}: a name is one line of text; rename it there")
