"""Which files are photos: one rule for folders, tars and data sets; what is left out is counted and said."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from pathlib import Path, PurePath, PurePosixPath

from pnp_ovss.errors import ConfigError
from pnp_ovss.files import shown

_ENDINGS = ".avif .bmp .gif .j2k .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tga .tif .tiff .webp"
PHOTO_ENDINGS = frozenset(_ENDINGS.split())
"""What counts as a photo in a folder, a tar or a data set, in any case; a file that is named by itself is tried."""
HEIC_ENDINGS = frozenset((".heic", ".heif"))
"""Photos too, where pillow-heif is installed."""


def photo_endings() -> frozenset[str]:
    """The endings that count: `PHOTO_ENDINGS`, and HEIC where pillow-heif is installed."""
    from importlib.util import find_spec

    return PHOTO_ENDINGS | HEIC_ENDINGS if find_spec("pillow_heif") else PHOTO_ENDINGS


def without_ending(name: str) -> str:
    """The name without the ending of a photo; other dots are part of it.

    >>> without_ending("a/cat.JPG"), without_ending("v1.5")
    ('a/cat', 'v1.5')
    """
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in PHOTO_ENDINGS | HEIC_ENDINGS else name


def why_left_out(name: str, endings: Container[str] = PHOTO_ENDINGS) -> str:
    """Why a file of this name (its path inside a folder or tar) does not count; "" when it does.

    >>> why_left_out("a/B.JPG"), why_left_out("__MACOSX/._b.jpg"), why_left_out("c.heic")
    ('', 'hidden', '.heic')
    """
    path = PurePath(name)
    if any(map(_hidden, path.parts)):
        return "hidden"
    ending = path.suffix.lower()
    return "" if ending in endings else ending or "without an ending"


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


class LeftOut(Counter[str]):
    """Files that do not count as photos, by reason: hidden, empty, an ending."""

    def sentence(self) -> str:
        """What is to be told of them, "" when there are none.

        >>> LeftOut({".heic": 2, "hidden": 1}).sentence()
        "left out: 2 .heic, 1 hidden; to read .heic: pip install '.[heic]', or convert them"
        """
        if not self:
            return ""
        heic = sorted(HEIC_ENDINGS & self.keys())
        advice = f"; to read {', '.join(heic)}: pip install '.[heic]', or convert them" if heic else ""
        return "left out: " + ", ".join(f"{count} {reason}" for reason, count in self.most_common()) + advice


def walk_photos(
    folder: str | Path,
    left_out: LeftOut,
    *,
    also: Iterable[str] = (),
    skip: Path | None = None,
    deep: bool = True,
    empty: bool = False,
) -> Iterator[str]:
    """Photos below a folder, lazily, by folder and name; a folder that is linked is followed, each folder once.

    left_out: counts what does not count. also: more endings that do. skip: an absolute path that is not entered.
    deep: with its subfolders. empty: files of 0 bytes count, too.
    Raises ConfigError, after the rest, when a folder cannot be listed.
    """
    endings = photo_endings() | frozenset(also)
    problems: list[OSError] = []
    seen: set[tuple[int, int]] = set()
    for parent, folders, names in os.walk(folder, onerror=problems.append, followlinks=True):
        if not _first_visit(parent, seen):
            left_out["linked folder that was listed already"] += 1
            folders[:] = []
            continue
        folders[:] = _entered(parent, folders if deep else [], left_out, skip)
        for name in sorted(names):
            path = os.path.join(parent, name)
            if reason := why_left_out(name, endings) or ("" if empty else _empty(path)):
                left_out[reason] += 1
            else:
                yield path
    if problems:
        raise ConfigError(f"cannot list {shown(problems[0].filename)}: {problems[0].strerror}; {len(problems)} in all")


def _entered(parent: str, folders: list[str], left_out: LeftOut, skip: Path | None) -> list[str]:
    open_ = sorted(name for name in folders if not _hidden(name))
    if len(open_) < len(folders):
        left_out["hidden folder"] += len(folders) - len(open_)
    return [name for name in open_ if Path(parent, name).absolute() != skip]


def _first_visit(folder: str, seen: set[tuple[int, int]]) -> bool:
    status = os.stat(folder)
    key = (status.st_dev, status.st_ino)
    new = key not in seen
    seen.add(key)
    return new


def _empty(path: str) -> str:
    try:
        return "" if os.path.getsize(path) else "empty"
    except OSError:
        return ""  # why it cannot be looked at is said when it is read


def find_photos(folder: str | Path, *, deep: bool = True) -> tuple[list[Path], LeftOut]:
    """The photos of a folder, sorted, and what was left out. deep: with its subfolders. Raises ConfigError."""
    left_out = LeftOut()
    return [Path(path) for path in walk_photos(folder, left_out, deep=deep)], left_out
