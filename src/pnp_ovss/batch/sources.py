"""Where photos come from: files, members of tars (WebDataset), rows of Parquet files.

A `PhotoRef` is small and says where a photo is; workers read the bytes themselves.
"""

from __future__ import annotations

import glob
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pnp_ovss.errors import DatasetError, DependencyError, ImageError
from pnp_ovss.images import ImageSource, shown

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_FORMATS = "avif bmp gif j2k jfif jp2 jpe jpeg jpg pbm pgm png pnm ppm tga tif tiff webp"
IMAGE_SUFFIXES = frozenset("." + name for name in _FORMATS.split())
IMAGE_COLUMNS = ("image", "bytes", "image_bytes", "jpg", "jpeg", "png", "webp")
PATH_COLUMNS = ("path", "image_path", "file_path", "file_name", "filename", "file")
MAX_BYTES = 1 << 30
"""Encoded photos beyond 1 GiB inside tars and Parquet files are refused before they are read."""


@dataclass(frozen=True)
class PhotoRef:
    """One photo: kind `file`, `tar`, `parquet`, or `broken` (an input that cannot be listed; note says why).

    id: unique in the corpus. path: of the file on disk, as bytes (file names need not be text). place: byte offset in
    a tar or row of a Parquet file. size: bytes, in a tar. note: the Parquet column.
    """

    id: str
    path: bytes
    kind: str = "file"
    place: int = 0
    size: int = 0
    note: str = ""


def list_photos(inputs: list[str], skip: Path) -> Iterator[PhotoRef]:
    """All photos of folders, files, globs, tars and Parquet files, lazily; `skip` is a folder that is left out.

    Raises ImageError for an input that names nothing, DatasetError for a Parquet file without images.
    """
    for name in inputs:
        found = False
        for path in _files(name, skip):
            found = True
            yield from _photos_of(path)
        if not found:
            raise ImageError(f"'{name}' names no photo: no file, folder or pattern of photos, tars or Parquet files")


def _files(name: str, skip: Path) -> Iterator[str]:
    if os.path.isdir(name):
        yield from _walk(name, skip)
    elif os.path.lexists(name):
        yield name
    else:
        for path in sorted(glob.iglob(name, recursive=True)):
            if os.path.isfile(path) and skip not in Path(path).absolute().parents:
                yield path


def _walk(folder: str, skip: Path) -> Iterator[str]:
    """Photos, tars and Parquet files below a folder in the order of their names; hidden ones are left out."""
    problems: list[OSError] = []
    for parent, folders, files in os.walk(folder, onerror=problems.append):
        kept = [f for f in folders if not f.startswith(".") and Path(parent, f).absolute() != skip]
        folders[:] = sorted(kept)
        for file in sorted(files):
            if not file.startswith(".") and _suffix(file) in IMAGE_SUFFIXES | {".tar", ".parquet"}:
                yield os.path.join(parent, file)
    if problems:
        error = problems[0]
        raise DatasetError(f"cannot list {error.filename}: {error.strerror}; {len(problems)} folders in all")


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _photos_of(path: str) -> Iterator[PhotoRef]:
    if _suffix(path) == ".tar":
        yield from _tar_members(path)
    elif _suffix(path) == ".parquet":
        yield from _parquet_rows(path)
    else:
        yield PhotoRef(shown(path), _absolute(path))


def _absolute(path: str) -> bytes:
    return os.fsencode(os.path.abspath(path))


def _tar_members(path: str) -> Iterator[PhotoRef]:
    """The images of a tar; where it breaks off, one broken ref says so. Of names that repeat the offset is added."""
    seen: set[str] = set()
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                tar.members = []  # ty: ignore[missing-attribute]  # tarfile keeps every header otherwise
                if not member.isfile() or _suffix(member.name) not in IMAGE_SUFFIXES:
                    continue
                name = shown(os.fsencode(member.name))
                id = f"{shown(path)}/{name}" + (f"@{member.offset_data}" if name in seen else "")
                seen.add(name)
                yield PhotoRef(id, _absolute(path), "tar", member.offset_data, member.size)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        yield PhotoRef(shown(path), _absolute(path), "broken", note=f"{shown(path)} is no complete tar: {error}")


def _parquet_rows(path: str) -> Iterator[PhotoRef]:
    from pyarrow import ArrowException

    try:
        file = _open_parquet(path)
        column, rows = _image_column(path, file), file.metadata.num_rows
    except (ArrowException, OSError) as error:
        reason = f"{shown(path)} is no Parquet file: {' '.join(str(error).split())}"
        yield PhotoRef(shown(path), _absolute(path), "broken", note=reason)
        return
    for row in range(rows):
        yield PhotoRef(f"{shown(path)}#{row}", _absolute(path), "parquet", row, note=column)


def _open_parquet(path: str | bytes) -> pq.ParquetFile:
    return require_pyarrow().ParquetFile(os.fsdecode(path), buffer_size=1 << 20, pre_buffer=False)


def require_pyarrow() -> Any:
    """`pyarrow.parquet`. Raises DependencyError that says how to install it."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise DependencyError("batch needs pyarrow: pip install 'pnp-ovss[batch]'") from error
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
        """A path or the encoded bytes. Raises ImageError when there is nothing to read."""
        if ref.kind == "file":
            return Path(os.fsdecode(ref.path))
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
        if isinstance(cell, bytes):
            return cell
        return Path(os.fsdecode(ref.path)).parent / str(cell)

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
