"""Pictures of a data set by their ids: the path below their folder without its ending, whatever the ending's case."""

import os
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath

from pnp_ovss.errors import DatasetError
from pnp_ovss.files import read_lines, shown
from pnp_ovss.photo_files import LeftOut, photo_endings, walk_photos, without_ending

_FLAG = re.compile(r"(.*\S)\s+-?[01]")
"""A name and the column of VOC's lists for one class: 1 = there, 0 = difficult, -1 = not there."""


class PictureFolder:
    """The pictures below a folder, found by id; an id never leads out of the folder.

    suffix: what a picture's name has after its id and before its ending. usual: the ending that is named where a
    picture is missing.
    """

    def __init__(self, folder: Path, *, suffix: str = "", usual: str = ".jpg") -> None:
        self.folder = folder
        self.suffix = suffix
        self.usual = usual
        self.left_out = LeftOut()

    @cached_property
    def _all(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for path in map(Path, walk_photos(self.folder, self.left_out)):
            stem = path.relative_to(self.folder).with_suffix("").as_posix()
            if stem.endswith(self.suffix):
                found.setdefault(stem.removesuffix(self.suffix), []).append(path)
        return found

    def all(self) -> dict[str, Path]:
        """All pictures by id, by folder and name. Raises DatasetError where two have one id."""
        return {id: self._only(paths) for id, paths in self._all.items()}

    def find(self, id: str) -> Path | None:
        """The picture of an id. Raises DatasetError where two have it, and for an id that leads out of the folder."""
        check_id(id, self.folder)
        usual = self.expected(id)
        if os.path.isfile(usual):  # false, too, for what no system takes as a name
            return usual
        paths = self._all.get(str(PurePosixPath(id))) or self._named(id)
        return self._only(paths) if paths else None

    def _named(self, id: str) -> list[Path]:
        """A hidden picture counts where it is named."""
        paths = (self.folder / f"{id}{self.suffix}{ending}" for ending in sorted(photo_endings()))
        return [path for path in paths if os.path.isfile(path)]

    def expected(self, id: str) -> Path:
        """Where the picture of an id is looked for first."""
        return self.folder / f"{id}{self.suffix}{self.usual}"

    def id_of(self, line: str) -> str:
        """The id that a line of a list names: as it is, without blanks around it, with `/` for `\\`, without VOC's flag; each
        without its ending too."""
        forms = [line, line.strip(), line.strip().replace("\\", "/")]
        if flagged := _FLAG.fullmatch(line.strip()):
            forms += [flagged[1], flagged[1].replace("\\", "/")]
        for form in forms:
            for id in (form, without_ending(form)):
                if self.find(id):
                    return str(PurePosixPath(id))
        return without_ending(forms[-1])

    def require(self, ids: Iterable[str], what: str, layout: str) -> dict[str, Path]:
        """The pictures of these ids. Raises DatasetError, saying how many are missing and which is the first."""
        found = {id: self.find(id) for id in ids}
        missing = [id for id, path in found.items() if path is None]
        if missing:
            first = shown(self.expected(missing[0]))
            raise DatasetError(f"{len(missing)} of {len(found)} {what} missing, first {first}; {layout}")
        return {id: path for id, path in found.items() if path is not None}

    def _only(self, paths: list[Path]) -> Path:
        if len(paths) > 1:
            names = " and ".join(path.name for path in paths[:2])
            raise DatasetError(f"{shown(paths[0].parent)} holds both {shown(names)}; keep one of them")
        return paths[0]


def read_ids(path: Path, pictures: PictureFolder, layout: str) -> tuple[str, ...]:
    """The ids that a list file names, one a line, blank lines skipped. Raises DatasetError."""
    try:
        lines = read_lines(path, "the image list", error=DatasetError)
    except DatasetError as error:
        raise DatasetError(f"{error}; {layout}") from None
    ids = tuple(pictures.id_of(line) for line in lines if line.strip())
    if not ids:
        raise DatasetError(f"the image list {path} is empty; {layout}")
    seen: set[str] = set()
    for id in ids:
        if id in seen:
            raise DatasetError(f"the image list {path} names {shown(id)} twice; {layout}")
        seen.add(id)
    return ids


def check_id(id: str, folder: Path) -> None:
    """Raise DatasetError for an id that is no path below the folder."""
    path = Path(id)
    if path.is_absolute() or path.drive or ".." in path.parts or not path.name or "\0" in id:
        raise DatasetError(f"{shown(id)!r} names no picture below {shown(folder)}: write its path in that folder")


def require_folder(root: Path, candidates: tuple[str, ...], layout: str) -> Path:
    """The first of the candidate folders under `root` that exists. Raises DatasetError with the layout."""
    for candidate in candidates:
        if (folder := root / candidate).is_dir():
            return folder
    found = ", ".join(sorted(entry.name for entry in root.iterdir())[:6]) if root.is_dir() else "no such folder"
    raise DatasetError(f"{root} has no {' or '.join(candidates)} (found: {found or 'nothing'}); {layout}")


def require_any(found: Mapping[str, Path], folder: Path, what: str, layout: str) -> None:
    """Raise DatasetError when a folder holds nothing to read."""
    if not found:
        raise DatasetError(f"{folder} holds no {what}; {layout}")
