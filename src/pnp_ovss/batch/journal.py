"""Rows of an unfinished shard on disk: a journal that survives a torn end."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pnp_ovss.files import write_atomically, writing


class Journal:
    """Rows of an unfinished shard, one a line with its checksum; a torn or damaged line counts as never written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, row: dict[str, Any]) -> None:
        """Add one row. It survives the death of this process, not of the machine. Raises OutputError."""
        record = _record(row)
        with writing(self.path):
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


def _record(row: dict[str, Any]) -> bytes:
    text = json.dumps(row, ensure_ascii=True, separators=(",", ":")).encode()
    return b"\n%08x %s" % (zlib.crc32(text), text)  # a new line first: the one before may be torn
