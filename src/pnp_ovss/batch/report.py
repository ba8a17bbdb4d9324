"""What a batch holds: counts, classes, failures by cause, throughput, and whether it is sound."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pnp_ovss.batch.folder import BatchFolder
from pnp_ovss.batch.rows import CAUSES
from pnp_ovss.batch.sources import require_pyarrow
from pnp_ovss.words import counted

_PHOTO_COLUMNS = ("number", "id", "status", "cause", "error", "seconds")


@dataclass
class Counts:
    """photos: in the inventory. rows, ok, failed: in finished shards. wrong: rows whose number is not the expected one.

    classes: {name: (photos that show it, sum of its shares)}. failures: by (cause, error without the photo's name).
    seconds: of all photos' segmentation, by workers; runs: as in the manifest.
    """

    photos: int = 0
    rows: int = 0
    ok: int = 0
    failed: int = 0
    wrong: int = 0
    shards: int = 0
    missing_shards: int = 0
    seconds: float = 0.0
    classes: dict[str, tuple[int, float]] = field(default_factory=dict)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    runs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Exactly one row a photo, in the inventory's order."""
        return self.rows == self.photos and not self.wrong and not self.missing_shards

    @property
    def photos_per_s(self) -> float | None:
        """Of the runs that ended in an orderly way, start-up included; None when there was none."""
        seconds = sum(run["seconds"] for run in self.runs)
        photos = sum(run["photos"] for run in self.runs)
        return photos / seconds if seconds and photos else None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        classes = {
            name: {"photos": found, "mean_share": share / max(self.ok, 1)}
            for name, (found, share) in self.classes.items()
        }
        failures = [{"cause": c, "error": e, "photos": n} for (c, e), n in self.failures.most_common()]
        counts = {
            name: getattr(self, name)
            for name in ("photos", "rows", "ok", "failed", "wrong", "shards", "missing_shards", "photos_per_s")
        }
        return {**counts, "complete": self.is_complete, "classes": classes, "failures": failures}

    def lines(self) -> list[str]:
        """The counts in words."""
        state = "complete" if self.is_complete else f"{self.missing_shards} of {self.shards} shards missing"
        lines = [f"{counted(self.photos, 'photo')}: {self.ok} ok, {self.failed} failed; {state}"]
        if self.wrong:
            lines.append(f"{self.wrong} rows are out of place: delete their shards and run again with --resume")
        if self.photos_per_s:
            each = f", {self.seconds / self.ok:.2f} s a photo and worker" if self.ok else ""
            restarts = sum(run["restarts"] for run in self.runs)
            lines.append(f"{self.photos_per_s:.2f} photos/s{each}; {len(self.runs)} runs, {restarts} workers replaced")
        causes = Counter[str]()
        for (cause, _), number in self.failures.items():
            causes[cause] += number
        return lines + [f"  {number} failed: {CAUSES.get(cause, cause)}" for cause, number in causes.most_common()]


def count_rows(root: Path) -> Counts:
    """Read all finished shards of a batch, one at a time. Raises ConfigError when the folder is no batch."""
    folder = BatchFolder(root)
    manifest = folder.read_manifest()
    counts = Counts(photos=manifest["photos"], shards=folder.inventory.shards, runs=manifest["runs"])
    counts.missing_shards = len(folder.missing())
    counts.classes = {group[0]: (0, 0.0) for group in manifest["job"]["classes"]}
    for path in folder.shards():
        _count_shard(counts, path, folder.inventory.numbers(int(path.stem[-6:])))
    return counts


def _count_shard(counts: Counts, path: Path, expected: range) -> None:
    columns = [*_PHOTO_COLUMNS, "classes.list.element.name", "classes.list.element.share"]
    table = require_pyarrow().ParquetFile(path).read(columns=columns)
    numbers = np.asarray(table["number"])
    counts.rows += len(numbers)
    counts.wrong += int((numbers != np.asarray(expected)).sum())
    for row in table.drop_columns(["classes"]).to_pylist():
        if row["status"] == "ok":
            counts.ok += 1
            counts.seconds += row["seconds"]
        else:
            counts.failed += 1
            counts.failures[row["cause"], row["error"].replace(row["id"], "…")] += 1
    _count_classes(counts, table["classes"].combine_chunks().flatten())


def _count_classes(counts: Counts, entries: Any) -> None:
    names, shares = entries.field("name").to_pylist(), entries.field("share").to_pylist()
    for name, share in zip(names, shares, strict=True):
        found, total = counts.classes[name]
        counts.classes[name] = (found + (share > 0), total + share)
