"""Workers that may die: hands out photos, watches time and memory, replaces the dead, sets aside what kills them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from pnp_ovss.batch.folder import BatchFolder
from pnp_ovss.batch.job import Job, Resources
from pnp_ovss.batch.rows import failed_row
from pnp_ovss.batch.worker import Row, Task, serve
from pnp_ovss.changes import changes, summary
from pnp_ovss.errors import ConfigError, ModelError
from pnp_ovss.words import counted

log = logging.getLogger(__name__)

Group = deque[Task]
"""Photos that a worker is sent together; those of which there is no row yet."""

AHEAD = 2
"""Groups that a worker holds: the one it segments and the next, so that it never waits for the driver."""
TICK_S = 0.5
STARTS = 3
"""Workers in a row that may die before their model is loaded."""
IDENTITY = ("model", "weights", "config")
LOSSES = 20
"""Workers in a row that may be lost without one row in between: then it is not the photos."""


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    connection: Connection
    place: int
    groups: deque[Group] = field(default_factory=deque)
    since: float = 0.0
    ready: bool = False


def identity(facts: dict[str, Any]) -> dict[str, Any]:
    """Of what is known about a model, what its labels depend on; {} where nothing is known yet."""
    return {name: facts[name] for name in IDENTITY if name in facts}


class Pool:
    """Worker processes for one job. Use as a context manager; leaving it ends them at once.

    expected: what workers must say of their model (`IDENTITY`, of an earlier run), or None. facts: what the first worker said
    of its model. restarts: how many workers were replaced.
    """

    def __init__(self, job: Job, out: Path, resources: Resources, expected: dict[str, Any] | None = None) -> None:
        self._job, self._out, self._resources, self._expected = job, out, resources, expected
        self._workers: list[_Worker] = []
        self._again: deque[Group] = deque()
        self._costs: Counter[int] = Counter()
        self._failed_starts = self._losses = 0
        self.facts: dict[str, Any] = {}
        self.restarts = 0
        if resources.memory_gib and not resident_gib(os.getpid()):
            log.warning("this system does not tell what a process takes: the memory limit is not kept")

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_workers()

    def _end_workers(self) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.connection.close()
        self._workers.clear()
        self._again.clear()

    def run(self, tasks: Iterable[Task]) -> Generator[Row]:
        """Exactly one row for every task, in the order in which they are done.

        Takes a task only when a worker is free for it, so a slow reader of the rows slows the workers down. Raises
        ModelError or ConfigError when no worker can start, OutputError when one cannot write.
        """
        source, exhausted = iter(tasks), False
        if (first := next(source, None)) is None:
            return
        source = chain([first], source)
        try:
            while True:
                while len(self._workers) < self._resources.workers:
                    self._workers.append(self._start(len(self._workers)))
                exhausted = self._hand_out(source) or exhausted
                if exhausted and not self._again and not any(w.groups for w in self._workers):
                    return
                yield from self._collect()
        except BaseException:  # including a caller who stops reading: nothing may be left over for the next run
            self._end_workers()
            raise

    def complete(self, folder: BatchFolder, shards: Iterable[int]) -> Iterator[Row]:
        """Segment what these shards lack and write them; yields the rows as they come. Both engines do their work here."""
        with closing(self.run(task for shard in shards for task in folder.begin(shard))) as rows:
            for row in rows:
                folder.add(row)
                yield row

    def _start(self, place: int) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, self._job, self._out, self._resources.device_of(place), self._resources.threads)
        process = context.Process(target=serve, args=arguments, daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours, place)

    def _hand_out(self, source: Iterator[Task]) -> bool:
        """Fill the free workers; True when the source has no more."""
        for depth in range(AHEAD):  # one each before anyone gets a second
            for worker in [w for w in self._workers if w.ready and len(w.groups) <= depth]:
                group = self._again.popleft() if self._again else deque(islice(source, self._resources.at_once))
                if not group:
                    return True
                self._send(worker, group)
        return False

    def _send(self, worker: _Worker, group: Group) -> None:
        if not worker.groups:
            worker.since = time.monotonic()
        worker.groups.append(group)
        with suppress(OSError):  # it has just died; _collect finds out and hands the group to another
            worker.connection.send(list(group))

    def _collect(self) -> Iterator[Row]:
        """Wait for news of any worker, at most a tick, and look at the limits."""
        ready = wait([w.connection for w in self._workers], timeout=TICK_S)
        for worker in list(self._workers):
            if worker.connection in ready:
                yield from self._receive(worker)
            elif reason := self._over_limit(worker):
                yield from self._lose(worker, *reason)

    def _receive(self, worker: _Worker) -> Iterator[Row]:
        try:
            kind, *content = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join()
            yield from self._lose(worker, "killed", f"the worker died ({_ending(worker.process.exitcode)})")
            return
        if kind == "row":
            worker.groups[0].popleft()
            if not worker.groups[0]:
                worker.groups.popleft()
            worker.since, self._losses = time.monotonic(), 0
            yield content[0]
        elif kind == "error":
            yield from self._lose(worker, "error", content[0])
        elif kind == "ready":
            self._greet(worker, content[0])
        else:
            raise content[0]

    def _greet(self, worker: _Worker, facts: dict[str, Any]) -> None:
        worker.ready, self._failed_starts = True, 0
        self.facts = self.facts or facts
        used, limit = resident_gib(worker.process.pid), self._resources.memory_gib
        if limit and used > limit:
            raise ConfigError(
                f"a worker with the model alone takes {used:.1f} GiB, each may take {limit:.1f}; "
                "use fewer --workers, or a larger --memory-limit"
            )
        if found := changes(self._expected or identity(self.facts), identity(facts)):
            raise ConfigError(
                f"the batch was begun with another model or other settings: {summary(found)}; restore the method file, "
                "the weights or the version of pnp-ovss, or choose another --out"
            )

    def _over_limit(self, worker: _Worker) -> tuple[str, str] | None:
        """The cause and the words when the worker's photos take too long or too much."""
        limits = self._resources
        if not worker.ready or not worker.groups:
            return None
        if time.monotonic() - worker.since > limits.time_s * len(worker.groups[0]):
            return "timeout", f"it took longer than {limits.time_s:g} s"
        if limits.memory_gib and resident_gib(worker.process.pid) > limits.memory_gib:
            return "memory", f"the worker needed more than {limits.memory_gib:g} GiB"
        return None

    def _lose(self, worker: _Worker, cause: str, words: str) -> Iterator[Row]:
        """Replace a worker. What it held goes to others: what it was busy with photo by photo, one while it has tries left."""
        worker.process.kill()
        worker.process.join()
        worker.connection.close()
        self._check_losses(worker, words)
        self.restarts += 1
        self._workers[self._workers.index(worker)] = self._start(worker.place)
        if not worker.groups:
            return
        group, *others = worker.groups
        self._again.extend(others)
        if len(group) > 1:
            log.warning("%d photos at once cost a worker (%s): they are done one by one", len(group), words)
            self._again.extend(deque([task]) for task in group)
            return
        number, ref = group[0]
        self._costs[number] += 1
        if self._costs[number] < self._resources.tries:
            self._again.append(group)
        else:
            yield failed_row(number, ref, cause, f"{words}; set aside after {counted(self._costs.pop(number), 'try')}")

    def _check_losses(self, worker: _Worker, words: str) -> None:
        """Raise ModelError when the trouble is not one photo's."""
        self._losses += 1
        self._failed_starts += not worker.ready
        if self._failed_starts >= STARTS:
            raise ModelError(f"{STARTS} workers were lost before the model was loaded: {words}; try fewer --workers")
        if self._losses >= LOSSES:
            raise ModelError(
                f"{LOSSES} workers were lost in a row, the last because {words}: find out with `pnp-ovss segment` on "
                "one photo, then go on with --resume"
            )


def resident_gib(pid: int | None) -> float:
    """The resident set of a process; 0.0 where the system does not tell (no /proc)."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (OSError, IndexError, ValueError):
        return 0.0


def _ending(code: int | None) -> str:
    """An exit code in words; the kernel ends a process that takes too much memory by signal 9."""
    if code is not None and code < 0:
        return f"signal {-code}" + (", perhaps out of memory" if code == -9 else "")
    return f"exit code {code}"
