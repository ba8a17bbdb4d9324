"""Where photos come from: files, members of tars (WebDataset), rows of Parquet files.

A `PhotoRef` is small and says where a photo is; workers read the bytes themselves.
"""

from __future__ import annotations

import glob
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pnp_ovss.errors import DatasetError, ImageError
from pnp_ovss.extras import need
from pnp_ovss.files import shown
from pnp_ovss.images import ImageSource, address_advice
from pnp_ovss.photo_files import LeftOut, photo_endings, walk_photos, why_left_out

if TYPE_CHECKING:
    import pyarrow.parquet as pq

IMAGE_COLUMNS = ("image", "bytes", "image_bytes", "jpg", "jpeg", "png", "webp")
PATH_COLUMNS = ("path", "image_path", "file_path", "file_name", "filename", "file")
MAX_BYTES = 1 << 30
"""Encoded photos beyond 1 GiB inside tars and Parquet files are refused before they are read."""


@dataclass(frozen=True)
class PhotoRef:
    """One photo: kind `file`, `tar`, `parquet`, or `broken` (an input that cannot be listed; note says why).

    id: unique in the corpus. path: of the file on disk, as bytes (file names need not be text). place: byte offset in
    a tar or row of a Parquet file. size: bytes, in a tar. note: the Parquet column. stamp: of the file on disk when it
    was listed (see `stamp_of`).
    """

    id: str
    path: bytes
    kind: str = "file"
    place: int = 0
    size: int = 0
    note: str = ""
    stamp: str = ""


def stamp_of(path: bytes | str | Path) -> str:
    """A file's size and time of change in words: what tells it from another one at the same place; "" if it is gone."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return ""
    when = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(sep=" ", timespec="seconds")
    return f"{status.st_size} bytes of {when} +{status.st_mtime_ns % 10**9}"


def list_photos(inputs: list[str], skip: Path, left_out: LeftOut | None = None) -> Iterator[PhotoRef]:
    """All photos of folders, files, globs, tars and Parquet files, lazily; `skip` is a folder that is not entered.

    left_out: counts the files that do not count. Raises ImageError for an input that names nothing, ConfigError for a
    folder that cannot be listed.
    """
    left_out = LeftOut() if left_out is None else left_out
    for name in inputs:
        found = False
        for path in _files(name, skip, left_out):
            found = True
            yield from _photos_of(path, left_out)
        if not found:
            why = (
                address_advice(name)
                or left_out.sentence()
                or ("the folder holds none" if os.path.isdir(name) else "")
                or "no file, folder or pattern of photos, tars or Parquet files"
            )
            raise ImageError(f"'{shown(name)}' names no photo: {why}")


def _files(name: str, skip: Path, left_out: LeftOut) -> Iterator[str]:
    if os.path.isdir(name):
        yield from walk_photos(name, left_out, also=(".tar", ".parquet"), skip=skip, empty=True)
    elif os.path.lexists(name):
        yield name
    else:
        for path in sorted(glob.iglob(name, recursive=True)):
            if os.path.isfile(path) and skip not in Path(path).absolute().parents:
                yield path


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _photos_of(path: str, left_out: LeftOut) -> Iterator[PhotoRef]:
    stamp = stamp_of(path)
    if _suffix(path) == ".tar":
        yield from _tar_members(path, stamp, left_out)
    elif _suffix(path) == ".parquet":
        yield from _parquet_rows(path, stamp)
    else:
        yield PhotoRef(shown(path), _absolute(path), stamp=stamp)


def _absolute(path: str) -> bytes:
    return os.fsencode(os.path.abspath(path))


def _tar_members(path: str, stamp: str, left_out: LeftOut) -> Iterator[PhotoRef]:
    """The images of a tar; where it breaks off, one broken ref says so. Of names that repeat the offset is added."""
    seen: set[str] = set()
    endings = photo_endings()
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                tar.members = []  # ty: ignore[missing-attribute]  # tarfile keeps every header otherwise
                if not member.isfile():
                    continue
                if reason := why_left_out(member.name, endings):
                    left_out[reason] += 1
                    continue
                name = shown(os.fsencode(member.name))
                id = f"{shown(path)}/{name}" + (f"@{member.offset_data}" if name in seen else "")
                seen.add(name)
                yield PhotoRef(id, _absolute(path), "tar", member.offset_data, member.size, stamp=stamp)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        yield PhotoRef(shown(path), _absolute(path), "broken", note=f"{shown(path)} is no complete tar: {error}")


def _parquet_rows(path: str, stamp: str) -> Iterator[PhotoRef]:
    from pyarrow import ArrowException

    try:
        file = _open_parquet(path)
        column, rows = _image_column(path, file), file.metadata.num_rows
    except (ArrowException, OSError) as error:
        reason = f"{shown(path)} is no Parquet file: {' '.join(str(error).split())}"
        yield PhotoRef(shown(path), _absolute(path), "broken", note=reason)
        return
    except DatasetError as error:
        yield PhotoRef(shown(path), _absolute(path), "broken", note=str(error))
        return
    for row in range(rows):
        yield PhotoRef(f"{shown(path)}#{row}", _absolute(path), "parquet", row, note=column, stamp=stamp)


def _open_parquet(path: str | bytes) -> pq.ParquetFile:
    return require_pyarrow().ParquetFile(os.fsdecode(path), buffer_size=1 << 20, pre_buffer=False)


def require_pyarrow() -> Any:
    """`pyarrow.parquet`. Raises DependencyError that says how to install it."""
    need("pyarrow", "batch", "batch")
    import pyarrow.parquet

    return pyarrow.parquet


def _image_column(path: str, file: pq.ParquetFile) -> str:
    names = file.schema_arrow.names
    for name in (*IMAGE_COLUMNS, *PATH_COLUMNS):
        if name in names:
            return name
    raise DatasetError(
        f"{shown(path)} has no column with images ({', '.join(IMAGE_COLUMNS)}) or paths ({', '.join(PATH_COLUMNS)}); "
        f"it has {', '.join(names)}"
    )


class PhotoReader:
    """Opens refs; keeps the last Parquet file open and reads on from where it is."""

    def __init__(self) -> None:
        self._file: pq.ParquetFile | None = None
        self._key: tuple[bytes, str] = (b"", "")
        self._batches: Iterator[Any] = iter(())
        self._batch: Any = None
        self._first = 0

    def __call__(self, ref: PhotoRef) -> ImageSource:
        """A path or the encoded bytes. Raises ImageError when there is nothing to read, or another tar or table."""
        if ref.kind == "file":
            return Path(os.fsdecode(ref.path))
        if ref.stamp and (now := stamp_of(ref.path)) != ref.stamp:
            raise ImageError(f"{ref.id}: its file was {ref.stamp} when it was listed, and is {now or 'gone'}")
        if ref.kind == "tar":
            return _read_member(ref)
        if ref.kind == "parquet":
            return self._read_cell(ref)
        raise ImageError(ref.note)

    def _read_cell(self, ref: PhotoRef) -> ImageSource:
        from pyarrow import ArrowException

        try:
            cell = self._cell(ref)
        except (ArrowException, OSError, StopIteration) as error:
            self._key = (b"", "")
            raise ImageError(f"{ref.id} cannot be read from its Parquet file: {error}") from error
        if isinstance(cell, dict):
            cell = cell.get("bytes") or cell.get("path")
        if not cell:
            raise ImageError(f"{ref.id} holds no image: column '{ref.note}' is empty")
        if isinstance(cell, bytes) and ref.note not in PATH_COLUMNS:
            return cell
        return _beside(ref, os.fsdecode(cell) if isinstance(cell, bytes) else str(cell))

    def _cell(self, ref: PhotoRef) -> Any:
        if self._key != (ref.path, ref.note) or self._batch is None or ref.place < self._first:
            self._open(ref)
        while ref.place >= self._first + len(self._batch):
            self._first += len(self._batch)
            self._batch = next(self._batches)
        return self._batch.column(0)[ref.place - self._first].as_py()

    def _open(self, ref: PhotoRef) -> None:
        """Start at the row group that holds the row."""
        file = _open_parquet(ref.path)
        group, first = 0, 0
        while ref.place >= first + file.metadata.row_group(group).num_rows:
            first += file.metadata.row_group(group).num_rows
            group += 1
        groups = list(range(group, file.num_row_groups))
        self._batches = file.iter_batches(batch_size=16, row_groups=groups, columns=[ref.note])
        self._file, self._key, self._first, self._batch = file, (ref.path, ref.note), first, next(self._batches)


def _beside(ref: PhotoRef, name: str) -> Path:
    """The file that a Parquet table names, from the table's own folder. Raises ImageError for an address."""
    if advice := address_advice(name):
        raise ImageError(f"{ref.id}: {shown(advice)}")
    folder = Path(os.fsdecode(ref.path)).parent
    backslashes = not os.path.exists(folder / name)  # of Windows
    return folder / (name.replace("\\", "/") if backslashes else name)


def _read_member(ref: PhotoRef) -> bytes:
    if ref.size > MAX_BYTES:
        raise ImageError(f"{ref.id} has {ref.size / 2**30:.1f} GiB; the limit in a tar is 1 GiB")
    try:
        with open(ref.path, "rb") as file:
            file.seek(ref.place)
            data = file.read(ref.size)
    except OSError as error:
        raise ImageError(f"{ref.id} cannot be read: {error.strerror or error}") from error
    if len(data) < ref.size:
        raise ImageError(f"{ref.id} is cut off: the tar ends after {len(data)} of its {ref.size} bytes")
    return data
