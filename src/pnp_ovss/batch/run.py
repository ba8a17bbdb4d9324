"""Run a batch, or the rest of one, on this machine or on Ray."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pnp_ovss.batch.folder import FORMAT, BatchFolder
from pnp_ovss.batch.inventory import write_inventory
from pnp_ovss.batch.job import Job, Resources
from pnp_ovss.batch.pool import Pool, identity
from pnp_ovss.batch.sources import list_photos, require_pyarrow
from pnp_ovss.changes import changes, summary
from pnp_ovss.errors import ConfigError, OutputError
from pnp_ovss.files import locked, remove_temporaries
from pnp_ovss.photo_files import LeftOut

SHARD_SIZE = 1000

Progress = Callable[[int, int], None]
"""Told how many photos were done now and how many of them failed."""


def run_batch(
    inputs: list[str],
    out: Path,
    job: Job,
    resources: Resources,
    *,
    engine: str = "local",
    address: str | None = None,
    shard_size: int = SHARD_SIZE,
    resume: bool = False,
    retry_failed: bool = False,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Segment all photos of the inputs into OUT; returns the manifest, whose last run is this one.

    inputs: folders, photos, patterns, tars and Parquet files. engine: `local` or `ray`. shard_size: photos a shard.
    resume: go on with what OUT holds; the list of photos stays the one of the first run; with retry_failed the photos
    that failed are tried again. address: of a Ray cluster,
    None starts one here. Raises PnPError; whatever was finished by then is kept, also at a KeyboardInterrupt.
    """
    require_pyarrow()
    out = out.absolute()
    with locked(out / ".lock"), _kept():
        folder = BatchFolder(out)
        manifest = _prepare(folder, inputs, job, shard_size, resume)
        if retry_failed:
            folder.reopen_failed()
        tally, run = Counter(photos=0, failed=0, restarts=0), {"started": _now(), "engine": engine, **asdict(resources)}
        with _noted(folder, manifest, run, tally):
            for facts, photos, failed in _engine(engine, address)(folder, job, resources, tally):
                _take_facts(folder, manifest, run, facts)
                tally.update(photos=photos, failed=failed)
                progress(photos, failed)
        return manifest


@contextmanager
def _noted(folder: BatchFolder, manifest: dict[str, Any], run: dict[str, Any], tally: Counter[str]) -> Generator[None]:
    """The run enters the manifest, however it ends."""
    start, outcome = time.monotonic(), "stopped"
    try:
        yield
        outcome = "complete"
    finally:
        run |= {"seconds": round(time.monotonic() - start, 3), "outcome": outcome, **tally}
        manifest["runs"].append(run)
        said_already = () if outcome == "complete" else (OutputError,)  # a full disk
        with suppress(*said_already):
            folder.write_manifest(manifest)


def _take_facts(folder: BatchFolder, manifest: dict[str, Any], run: dict[str, Any], facts: Mapping[str, Any]) -> None:
    """What the workers' model is; nothing where all rows of a shard were there already."""
    if facts and "weights" not in manifest:
        manifest |= facts
        folder.write_manifest(manifest)
    if facts:
        run["versions"] = facts["versions"]


def _engine(name: str, address: str | None) -> Callable[..., Iterator[tuple[dict[str, Any], int, int]]]:
    """A generator (folder, job, resources, tally) -> (facts, photos done, failed ones)."""
    if name == "local":
        return _run_here
    if name == "ray":
        from pnp_ovss.batch.ray_engine import run_on_ray

        return lambda *what: run_on_ray(*what, address=address)
    raise ConfigError(f"unknown engine '{name}'; choose from local, ray")


def _run_here(
    folder: BatchFolder, job: Job, resources: Resources, tally: Counter[str]
) -> Iterator[tuple[dict[str, Any], int, int]]:
    expected = identity(folder.read_manifest())
    with Pool(job, folder.root, resources, expected) as pool:
        for row in pool.complete(folder, folder.missing()):
            tally["restarts"] = pool.restarts
            yield pool.facts, 1, int(row["status"] == "failed")


def _prepare(folder: BatchFolder, inputs: list[str], job: Job, shard_size: int, resume: bool) -> dict[str, Any]:
    """The manifest of a batch that is new or goes on."""
    if folder.manifest_path.exists():
        if not resume:
            raise ConfigError(f"{folder.root} holds a batch already; continue it with --resume or choose another --out")
        manifest = folder.read_manifest()
        if found := changes(manifest["job"], job.to_dict()):
            raise ConfigError(
                f"the batch was begun with other settings: {summary(found)}; resume it with the same, or choose another --out"
            )
        if changed := list(folder.changed_sources()):
            raise ConfigError(
                f"{summary(changed)}: other files than the batch was begun with; put them back, move them away (what is "
                "done stays, the rest are failed rows), or choose another --out"
            )
        remove_temporaries(folder.root)
        return manifest
    if any(os.path.isdir(name) and os.path.samefile(name, folder.root) for name in inputs):
        raise ConfigError(
            f"{folder.root} is a folder of photos, and the batch would lie among them: choose another --out"
        )
    if shard_size < 1:
        raise ConfigError(f"shard size = {shard_size}; it must be at least 1")
    remove_temporaries(folder.root)
    left_out = LeftOut()
    photos = list_photos(inputs, folder.root, left_out)
    write_inventory(folder.inventory_path, photos, shard_size, unique=len(inputs) == 1)
    counts = {"photos": folder.inventory.photos, "shards": folder.inventory.shards, "shard_size": shard_size}
    manifest = {"format": FORMAT, "created": _now(), "inputs": inputs, "job": job.to_dict(), **counts}
    manifest |= {"left_out": left_out.sentence(), "runs": []}
    folder.write_manifest(manifest)
    return manifest


@contextmanager
def _kept() -> Generator[None]:
    """Say what is to be done when the disk is full."""
    try:
        yield
    except OutputError as error:
        raise OutputError(f"{error}; what was finished is kept: run again with --resume then") from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
