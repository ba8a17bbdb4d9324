"""The folder of a batch: manifest, inventory, finished shards, journals of unfinished ones.

OUT/manifest.json               the job, the counts and every run
OUT/inventory.parquet           all photos, numbered in its order; shard k is its row group k
OUT/shards/part-000000.parquet  finished rows, sorted by number; present = complete
OUT/journal/part-000001.log     rows of a shard that is not finished
OUT/labels/part-000000/0.png    with --png
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from pnp_ovss.batch.inventory import Inventory
from pnp_ovss.batch.journal import Journal
from pnp_ovss.batch.rows import schema
from pnp_ovss.batch.sources import PhotoReader, PhotoRef, require_pyarrow, stamp_of
from pnp_ovss.errors import ConfigError, ImageError, OutputError
from pnp_ovss.files import read_json, shown, write_atomically, write_json

_MANIFEST = {"job": dict, "photos": int, "shards": int, "runs": list}
FORMAT = "pnp-ovss-batch/2"


class BatchFolder:
    """One batch on disk. Shards that are there are complete; everything else is work."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifest_path = root / "manifest.json"
        self.inventory_path = root / "inventory.parquet"
        self._open: dict[int, int] = {}

    @cached_property
    def inventory(self) -> Inventory:
        """The list of photos, opened at first use."""
        return Inventory(self.inventory_path)

    def shard_path(self, shard: int) -> Path:
        """Where a finished shard lies."""
        return self.root / "shards" / f"part-{shard:06d}.parquet"

    def png_path(self, number: int) -> str:
        """Where a photo's labels lie, relative to the folder."""
        return f"labels/part-{number // self.inventory.shard_size:06d}/{number}.png"

    def read_manifest(self) -> dict[str, Any]:
        """The manifest. Raises ConfigError when the folder is no batch."""
        if not self.manifest_path.is_file():
            raise ConfigError(f"{self.root} holds no batch (no manifest.json)")
        manifest = read_json(self.manifest_path)
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise ConfigError(f"{self.manifest_path} is not the manifest of a batch ({FORMAT})")
        wrong = [name for name, kind in _MANIFEST.items() if not isinstance(manifest.get(name), kind)]
        if wrong or not isinstance(manifest["job"].get("classes"), list):
            raise ConfigError(f"{self.manifest_path} is damaged: {', '.join(wrong) or 'job.classes'}")
        return manifest

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Replace the manifest atomically."""
        write_json(self.manifest_path, manifest, ascii_only=True)

    def changed_sources(self) -> Iterator[str]:
        """Files that are there and are not what was listed or segmented, in words.

        Photos that failed do not count: their files may have been mended. Nor do files that are gone.
        """
        containers: set[bytes] = set()
        read = PhotoReader()
        for shard in range(self.inventory.shards):
            done = self._outcomes(shard)
            for number, ref in self.inventory.shard(shard):
                status, before = done.get(number, ("", ref.stamp))
                if ref.kind == "file" and status != "failed":
                    yield from _changed(ref.path, before)
                if ref.kind != "file" and ref.path not in containers:
                    containers.add(ref.path)
                    yield from _changed(ref.path, ref.stamp)
                if ref.kind == "parquet" and status == "ok" and before != ref.stamp:  # the table names a file
                    with suppress(ImageError):
                        yield from _changed(Path(str(read(ref))), before)

    def _outcomes(self, shard: int) -> dict[int, tuple[str, str]]:
        """{number: (status, stamp)} of a shard's rows so far."""
        if self._is_finished(shard):
            columns = ["number", "status", "stamp"]
            rows = require_pyarrow().read_table(self.shard_path(shard), columns=columns).to_pylist()
        else:
            rows = self._journal(shard).rows().values()
        return {row["number"]: (row["status"], row["stamp"] or "") for row in rows}

    def missing(self) -> list[int]:
        """The shards that are not finished, in order; one that cannot be read counts as missing."""
        return [k for k in range(self.inventory.shards) if not self._is_finished(k)]

    def _is_finished(self, shard: int) -> bool:
        path = self.shard_path(shard)
        if not path.exists():
            return False
        try:
            rows = require_pyarrow().read_metadata(path).num_rows
        except (OSError, ValueError):
            rows = -1
        return rows == len(self.inventory.numbers(shard))

    def begin(self, shard: int) -> list[tuple[int, PhotoRef]]:
        """The photos of a shard that are still to do; one that has them all in its journal is finished here."""
        done = self._journal(shard).rows()
        left = [(number, ref) for number, ref in self.inventory.shard(shard) if number not in done]
        self._open[shard] = len(left)
        if not left:
            self._finish(shard)
        return left

    def reopen_failed(self) -> None:
        """Make the photos that failed work again; what was segmented is kept. Raises OutputError."""
        for shard in range(self.inventory.shards):
            finished, journal = self._is_finished(shard), self._journal(shard)
            path = self.shard_path(shard)
            rows = require_pyarrow().read_table(path).to_pylist() if finished else list(journal.rows().values())
            segmented = [row for row in rows if row["status"] == "ok"]
            if len(segmented) < len(rows):
                journal.replace(segmented)  # before the shard goes: a run killed here still has it
                path.unlink(missing_ok=True)

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row, and write its shard when it was the last one. Raises OutputError."""
        shard = row["number"] // self.inventory.shard_size
        self._journal(shard).append(row)
        self._open[shard] -= 1
        if not self._open[shard]:
            self._finish(shard)

    def _journal(self, shard: int) -> Journal:
        return Journal(self.root / "journal" / f"part-{shard:06d}.log")

    def _finish(self, shard: int) -> None:
        journal, expected = self._journal(shard), self.inventory.numbers(shard)
        rows = journal.rows()
        if rows.keys() != set(expected):
            lost = len(set(expected) - rows.keys())
            raise OutputError(f"{journal.path} lost {lost} of {len(expected)} rows; run again with --resume")
        write_atomically(self.shard_path(shard), _encode([rows[number] for number in expected]))
        journal.path.unlink(missing_ok=True)
        del self._open[shard]

    def shards(self) -> Iterator[Path]:
        """The finished shards in order."""
        return (self.shard_path(k) for k in range(self.inventory.shards) if self._is_finished(k))


def _changed(path: bytes | Path, before: str) -> Iterator[str]:
    now = stamp_of(path) if before else ""
    if now and now != before:
        yield f"{shown(path)} was {before} and is {now}"


def _encode(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    require_pyarrow().write_table(pa.Table.from_pylist(rows, schema()), sink, compression="zstd")
    return sink.getvalue().to_pybytes()
