"""One evaluation as a value: which data, which system, how it runs and where the report stands. Picklable."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pnp_ovss.candidates import Candidates
from pnp_ovss.datasets.base import Dataset
from pnp_ovss.errors import ConfigError, OutputError
from pnp_ovss.evaluation.run import Progress, Results, RunOptions, run
from pnp_ovss.evaluation.systems import SegmenterSystem, System, dataset_settings
from pnp_ovss.outputs import refuse_foreign
from pnp_ovss.segmenter import Segmenter
from pnp_ovss.spec import SegmenterSpec
from pnp_ovss.vlms.base import VisionLanguageModel


class SystemSpec(Protocol):
    """Which system, as plain values."""

    def make(self, has_background: bool, vlm: VisionLanguageModel | None = None) -> System:
        """The system for a data set with or without background; `vlm`: its model, where it is loaded already."""
        ...


@dataclass(frozen=True)
class MethodSpec:
    """The method itself, or the `system` that answers with its variants. system: picklable, (segmenter, candidates) to it."""

    segmenter: SegmenterSpec
    system: Callable[[Segmenter, Candidates], System] = SegmenterSystem

    def make(self, has_background: bool, vlm: VisionLanguageModel | None = None) -> System:
        """See `SystemSpec`. Raises ConfigError for policy `file` without candidates."""
        segmenter = self.segmenter.make(vlm, **dataset_settings(has_background))
        if segmenter.config.policy == "file" and self.segmenter.candidates is None:
            raise ConfigError(
                "policy 'file' needs candidates, a list of names for each image; or choose itm, all or oracle"
            )
        return self.system(segmenter, Candidates(self.segmenter.candidates or {}))


@dataclass(frozen=True, kw_only=True)
class EvaluationJob:
    """An evaluation: `run` gives its results, resumed where `options` say so.

    out: the report's path, .json; the records of the images stand beside it.
    """

    data: Dataset
    system: SystemSpec
    out: Path
    options: RunOptions = field(default_factory=RunOptions)

    @property
    def records(self) -> Path:
        """Where the records stand: REPORT.images.jsonl."""
        return self.out.with_suffix(".images.jsonl")

    def make(self, vlm: VisionLanguageModel | None = None) -> System:
        """The system for this data."""
        return self.system.make(self.data.has_background, vlm)

    def run(self, system: System | None = None, progress: Progress | None = None) -> Results:
        """Examine every image. system: the one that `make` gave, else each worker process makes its own."""
        check_new([self], resume=self.options.resume)
        make = self.make if system is None or self.options.workers > 1 else lambda: system
        return run(self.data, make, self.records, self.options, progress=progress)


def check_new(jobs: Iterable[EvaluationJob], *, resume: bool) -> None:
    """Refuse to begin where an earlier run has left its records, or over what is no report. Raises OutputError."""
    for job in jobs:
        refuse_foreign(job.out, b'"miou_without_background"', "report", beside=() if resume else (".md", ".html"))
        if job.records.exists() and not resume:
            raise OutputError(f"{job.records} holds an earlier run; resume it, or choose another place for the report")
