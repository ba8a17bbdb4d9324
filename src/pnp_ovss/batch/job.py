"""What a batch does (`Job`, which decides the labels) and with what (`Resources`, which doesn't)."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pnp_ovss.errors import ConfigError
from pnp_ovss.spec import SegmenterSpec

if TYPE_CHECKING:
    from pnp_ovss.segmenter import Segmenter


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that the labels depend on, but for the photos; two runs over one folder must agree in it.

    classes: of (name, synonym, ...). settings: fields of SegmenterConfig. candidates: for policy `file`.
    png: write each photo's labels as a PNG too.
    """

    classes: tuple[tuple[str, ...], ...]
    model: str = "pocket"
    method: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    candidates: Mapping[str, list[str]] | None = None
    png: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; equal for equal jobs."""
        return {**asdict(self), "classes": [list(group) for group in self.classes]}

    def make_segmenter(self, device: str) -> Segmenter:
        """The segmenter of the model, method and settings. Raises ModelError, ConfigError, DependencyError."""
        import torch

        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))  # a script may have imported torch before
        return SegmenterSpec(model=self.model, method=self.method, device=device, settings=self.settings).make()


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What the job may use. None of it changes a label, but for the rounding of sums.

    workers: processes with a model each. threads: torch threads of each. device: auto, cpu, cuda, mps.
    gpus_per_worker: 0 = none; 0.5 = two workers share a GPU. time_s, memory_gib: what one photo may take before its
    worker is killed; memory is the worker's resident set, model included (None = no limit; Linux only).
    tries: how many workers a photo may cost. at_once: photos that a worker encodes and looks at together, for a GPU.
    """

    workers: int = 1
    threads: int = 1
    device: str = "auto"
    gpus_per_worker: float = 0.0
    time_s: float = 300.0
    memory_gib: float | None = None
    tries: int = 2
    at_once: int = 1

    def __post_init__(self) -> None:
        if min(self.workers, self.threads, self.tries, self.at_once) < 1:
            raise ConfigError(f"workers, threads, tries and photos at once must be at least 1; found {self}")
        limits = (self.time_s, 1.0 if self.memory_gib is None else self.memory_gib)
        if not all(limit > 0 and math.isfinite(limit) for limit in limits):
            raise ConfigError(
                f"time and memory limits must be above 0 and finite; found {self.time_s} s, {self.memory_gib} GiB"
            )
        if not 0 <= self.gpus_per_worker <= 1:
            raise ConfigError(f"gpus per worker = {self.gpus_per_worker}; a model runs on one GPU: choose 0 to 1")

    @classmethod
    def for_this_machine(
        cls, *, workers: int | None = None, memory_gib: float | None = None, local: bool = True, **others: Any
    ) -> Resources:
        """With what is left open filled in: a worker for each core that this process may use, and for each its part of
        the memory that is free (not where the work runs elsewhere).
        """
        count = workers or available_cores()
        free = free_gib() if local and memory_gib is None else 0.0
        return cls(workers=count, memory_gib=free / count if free else memory_gib, **others)

    def device_of(self, worker: int) -> str:
        """The device of the n-th worker of one machine: 0.5 GPUs each put workers 0 and 1 on cuda:0."""
        return f"cuda:{int(worker * self.gpus_per_worker)}" if self.gpus_per_worker else self.device


def available_cores() -> int:
    """Cores that this process may use: a container or `taskset` may give it fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def free_gib() -> float:
    """Memory that is free now, GiB; 0.0 where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return 0.0
    found = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return found[0] / 2**20 if found else 0.0
