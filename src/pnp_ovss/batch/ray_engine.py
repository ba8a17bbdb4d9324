"""The same work on Ray Data: shards are scheduled, retried and distributed by Ray, one supervised worker an actor.

Every actor runs a `Pool` of one, so that a photo costs its process and not the actor, which Ray would restart and
hand the same photo for ever. The actor writes its shards itself, atomically and under their numbers: what Ray repeats
is written once, which `write_parquet` does not promise. OUT and the photos must be reachable from every node under
the same path.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pnp_ovss import errors
from pnp_ovss.batch.folder import BatchFolder
from pnp_ovss.batch.job import Job, Resources
from pnp_ovss.batch.pool import Pool, identity
from pnp_ovss.environment import environment
from pnp_ovss.errors import ConfigError, DependencyError, ModelError, PnPError

RETRIES = 3
"""How often Ray restarts an actor or repeats a shard (Ray Data's own default is for ever)."""


_ALONE = {"RAY_USAGE_STATS_ENABLED": "0", "http_proxy": "http://127.0.0.1:9", "no_proxy": "127.0.0.1,localhost"}
"""What a Ray of our own starts with. Its usage statistics ask the cloud's metadata address which cloud it is, although
they are off: a proxy that is not there answers at once."""


class ShardActor:
    """Completes shards; one an actor, as `map_batches` wants it."""

    def __init__(self, root: Path, job: Job, resources: Resources, expected: dict[str, Any]) -> None:
        self._folder = BatchFolder(root)
        self._pool = Pool(job, root, resources, expected)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """{"shard": numbers} to {"report": JSON}, one a shard."""
        return {"report": [json.dumps(self._complete(int(shard))) for shard in batch["shard"]]}

    def _complete(self, shard: int) -> dict[str, Any]:
        """What became of a shard. A PnPError is reported, not raised: Ray would wrap it in its own."""
        report: dict[str, Any] = {"photos": 0, "failed": 0, "error": None}
        before = self._pool.restarts
        try:
            for row in self._pool.complete(self._folder, [shard]):
                report["photos"] += 1
                report["failed"] += row["status"] == "failed"
        except PnPError as error:
            report["error"] = [type(error).__name__, str(error)]
        return report | {"restarts": self._pool.restarts - before, "facts": self._pool.facts}


def run_on_ray(
    folder: BatchFolder, job: Job, resources: Resources, tally: Counter[str], *, address: str | None
) -> Iterator[tuple[dict[str, Any], int, int]]:
    """Yields (facts, photos, failed ones) a shard.

    Raises DependencyError without Ray, ConfigError without a cluster at the address.
    """
    ray = _require_ray(alone=address is None)
    missing = folder.missing()
    if not missing:
        return
    expected = identity(folder.read_manifest())
    device = "cuda" if resources.gpus_per_worker else resources.device  # Ray chooses the GPU and hides the others
    one = replace(resources, workers=1, gpus_per_worker=0.0, device=device)
    actor = {"root": folder.root, "job": job, "resources": one, "expected": expected}
    with _connected(ray, address, resources):
        blocks = min(len(missing), 4 * resources.workers)
        shards = ray.data.from_items([{"shard": k} for k in missing], override_num_blocks=blocks)
        done = shards.map_batches(
            ShardActor,
            fn_constructor_kwargs=actor,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=resources.workers),
            num_cpus=resources.threads,
            num_gpus=resources.gpus_per_worker or None,
            max_restarts=RETRIES,
            max_task_retries=RETRIES,
        )
        yield from _report(ray, done, tally)


def _report(ray: Any, done: Any, tally: Counter[str]) -> Iterator[tuple[dict[str, Any], int, int]]:
    try:
        for row in done.iter_rows():
            report = json.loads(row["report"])
            tally["restarts"] += report["restarts"]
            if report["error"]:
                kind, message = report["error"]
                raise getattr(errors, kind, ModelError)(message)
            yield report["facts"], report["photos"], report["failed"]
    except ray.exceptions.RayError as error:
        line = " ".join(str(error).split())
        raise ModelError(f"Ray gave up ({line[:300]}); what was finished is kept: go on with --resume") from error


def _require_ray(*, alone: bool) -> Any:
    if alone:  # read when Ray is imported; without it 127.0.0.1 becomes the address in the network
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise DependencyError("--engine ray needs Ray: pip install '.[ray]'") from error
    return ray


@contextmanager
def _connected(ray: Any, address: str | None, resources: Resources) -> Generator[None]:
    """A Ray of our own, with room for the workers, or the cluster at the address; disconnected afterwards."""
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    cores = max(os.cpu_count() or 1, resources.workers * resources.threads + 1)
    own = {"num_cpus": cores, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}  # nobody else's to reach
    try:
        with environment(_ALONE if address is None else {}):
            ray.init(**(own if address is None else {"address": address}), **quiet)
    except Exception as error:  # Ray raises plain Exceptions too, for example when its node is slow to start
        line = " ".join(str(error).split())[:200]
        where = f"no Ray cluster at '{address}'" if address else "Ray did not start on this machine"
        raise ConfigError(f"{where}: {line}; start one with `ray start --head` or use --engine local") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    try:
        yield
    finally:
        ray.shutdown()
