"""Files that are whole or absent: atomic writes, a journal that survives a torn end, a lock."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pnp_ovss.errors import OutputError

TEMPORARY = ".tmp-"


@contextmanager
def writing(folder: Path) -> Generator[None]:
    """Turn what the system says when it cannot write into one OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror or error}; what was finished is kept: make room, then run "
            "again with --resume"
        ) from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write to a temporary file beside it, flush to the disk, rename. Raises OutputError."""
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        fsync_folder(path.parent)


def fsync_folder(folder: Path) -> None:
    """Make a rename last; a system that cannot flush folders does it in its own time."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporaries(folder: Path) -> None:
    """Delete what a killed run left half written."""
    for path in folder.rglob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)


class Journal:
    """Rows of an unfinished shard, one a line with its checksum; a torn or damaged line counts as never written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, row: dict[str, Any]) -> None:
        """Add one row. It survives the death of this process, not of the machine. Raises OutputError."""
        record = _record(row)
        with writing(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab", buffering=0) as file:
                if file.write(record) != len(record):
                    raise OSError("the disk took only a part of a row")

    def rows(self) -> dict[int, dict[str, Any]]:
        """{number: row} of all whole lines, of a number written twice the first. Empty without a file."""
        rows: dict[int, dict[str, Any]] = {}
        if not self.path.exists():
            return rows
        for line in self.path.read_bytes().split(b"\n"):
            if line[8:9] == b" " and line[:8] == b"%08x" % zlib.crc32(line[9:]):
                row = json.loads(line[9:])
                rows.setdefault(row["number"], row)
        return rows

    def replace(self, rows: Iterable[dict[str, Any]]) -> None:
        """Have these rows and no others, at once. Raises OutputError."""
        write_atomically(self.path, b"".join(map(_record, rows)))

    def delete(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)


def _record(row: dict[str, Any]) -> bytes:
    text = json.dumps(row, ensure_ascii=True, separators=(",", ":")).encode()
    return b"\n%08x %s" % (zlib.crc32(text), text)  # a new line first: the one before may be torn


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Keep a second run out of the folder; a lock dies with its process. Raises OutputError when there is one."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / ".lock", "w")  # noqa: SIM115
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(f"another run is writing to {folder}; wait for it or choose another --out") from error
        yield
