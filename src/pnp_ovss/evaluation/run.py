"""Evaluate a system on a data set: image by image, resumable, on one process or several."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from pnp_ovss.datasets.base import VOID, Dataset, Sample
from pnp_ovss.environment import uninterrupted
from pnp_ovss.errors import DatasetError, OutputError, PnPError
from pnp_ovss.evaluation.intervals import ImageCounts
from pnp_ovss.evaluation.metrics import Confusion, Void, empty_confusion, update
from pnp_ovss.evaluation.records import KEPT, ImageRecord, RecordFile
from pnp_ovss.evaluation.saved import SavedLabels, identities, identity, label_name
from pnp_ovss.evaluation.systems import Answer, Classes, Query, System, plain_classes
from pnp_ovss.files import below, writing
from pnp_ovss.provenance import digest

MakeSystem = Callable[[], System]
Progress = Callable[[int, int, Confusion], None]
"""Called after each image with the number done, the number in all and the confusion matrix so far."""


@dataclass(frozen=True)
class RunOptions:
    """How a run goes; none of it changes a number but `void` and `synonyms`."""

    void: Void = "ignore"
    synonyms: bool = False
    """Prompt all names that the vocabulary lists for a class, not only the first."""
    resume: bool = False
    workers: int = 1
    save_labels: Path | None = None
    """Folder for the label pictures, one PNG an image (and variant)."""


@dataclass(frozen=True)
class Results:
    """All records of a run in the data set's order, and the settings that made them."""

    dataset: Dataset
    settings: dict[str, Any]
    void: Void
    records: tuple[ImageRecord, ...]
    path: Path

    @property
    def finished(self) -> tuple[ImageRecord, ...]:
        """The records without an error."""
        return tuple(record for record in self.records if record.error is None)

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants that the system answered in."""
        return tuple(self.finished[0].counts) if self.finished else ()

    def counts(self, variant: str = "") -> list[ImageCounts]:
        """Each finished image's confusion matrix."""
        return [record.counts[variant] for record in self.finished]


@dataclass(frozen=True)
class Examiner:
    """Puts one sample to a system and compares the answer with the ground truth."""

    system: System
    classes: Classes
    options: RunOptions

    def __call__(self, sample: Sample) -> ImageRecord:
        """The record of a sample; one that cannot be read or segmented is a record with the error."""
        from pnp_ovss.images import read_image

        try:
            truth = sample.labels()
            image = read_image(sample.image)
            if image.shape[:2] != truth.shape:
                (height, width), (rows, columns) = image.shape[:2], truth.shape
                raise DatasetError(
                    f"{sample.image} is {width} x {height} px and its mask {columns} x {rows} px: not one picture; give the mask "
                    "of this photo, at its size"
                )
            present = tuple(int(label) for label in np.unique(truth) if label not in (0, VOID))
            start = time.perf_counter()
            answers = self.system.answer(Query(sample.id, image, self.classes, present))
            seconds = time.perf_counter() - start
        except OutputError:
            raise
        except PnPError as error:
            return ImageRecord(sample.id, error=str(error))
        counts = {name: self._count(truth, answer) for name, answer in answers.items()}
        self._save(sample.id, answers)
        kept = {name: answer.kept for name, answer in answers.items()}
        scores = {name: answer.scores for name, answer in answers.items()}
        found = identity(sample, truth)
        return ImageRecord(sample.id, present, counts, kept, scores, seconds, content=found)

    def _count(self, truth: np.ndarray, answer: Answer) -> ImageCounts:
        return ImageCounts.of(update(empty_confusion(len(self.classes)), truth, answer.labels, void=self.options.void))

    def _save(self, id: str, answers: dict[str, Answer]) -> None:
        if self.options.save_labels is None:
            return
        from pnp_ovss.pictures.labels_image import labels_image

        for name, answer in answers.items():
            path = below(self.options.save_labels, label_name(id, name))
            with writing(path, KEPT):
                labels_image(answer.labels, len(self.classes)).save(path)


def run(
    dataset: Dataset,
    make_system: MakeSystem,
    records: Path,
    options: RunOptions | None = None,
    *,
    progress: Progress | None = None,
) -> Results:
    """Examine every sample and write each record to `records` at once.

    With `options.resume` the records already there are kept and only the others are made (those that failed
    are tried again): the results are those of an uninterrupted run. With several workers `make_system` is
    called in each process and must be picklable. With `options.save_labels` images whose labels this run has not saved
    are made again. Raises ConfigError if the records were made with other settings or of other images, OutputError for
    label pictures in the folder that no run made.
    """
    options = options or RunOptions()
    labels = SavedLabels(options.save_labels, dataset)
    with _examining(make_system, plain_classes(dataset, synonyms=options.synonyms), options) as (settings, examine):
        header = _header(dataset, settings, options)
        file = RecordFile(records, header, resume=options.resume)
        file.check_content(identities(dataset, file.done))
        with file:
            labels.begin(digest(header))
            for id in [id for id in file.done if not labels.has(id)]:
                del file.done[id]
            rest = [sample for sample in dataset if sample.id not in file.done]
            report = _reporter(progress, len(dataset), len(dataset.vocabulary))
            report(file.done.values())
            for record in examine(rest):
                file.append(record)
                labels.add(record)
                file.done[record.id] = record
                report([record])
    ordered = tuple(file.done[sample.id] for sample in dataset)
    return Results(dataset, settings, options.void, ordered, records)


def _header(dataset: Dataset, settings: dict[str, Any], options: RunOptions) -> dict[str, Any]:
    return {
        "dataset": dataset.name,
        "notes": list(dataset.notes),
        "classes": len(dataset.vocabulary),
        "names": list(dataset.names),
        "synonyms": options.synonyms,
        "void": options.void,
        "settings": settings,
    }


@contextmanager
def _examining(
    make_system: MakeSystem, classes: Classes, options: RunOptions
) -> Generator[tuple[dict[str, Any], Callable[[Sequence[Sample]], Iterator[ImageRecord]]]]:
    """The system's settings, and a function that examines samples in their order."""
    if options.workers <= 1:
        examiner = Examiner(make_system(), classes, options)
        yield examiner.system.settings(), partial(map, examiner)
        return
    context = get_context("spawn")  # a forked torch may hang
    asked = (make_system, classes, options)
    with ProcessPoolExecutor(options.workers, context, initializer=_Worker.start, initargs=asked) as pool:

        def examine(samples: Sequence[Sample]) -> Iterator[ImageRecord]:
            with uninterrupted():  # what is handed in starts the processes
                return pool.map(_Worker.examine, samples)

        try:
            with uninterrupted():
                settings = pool.submit(_Worker.settings)
            yield settings.result(), examine
        except BrokenProcessPool:
            raise OutputError(
                "a worker process died, perhaps out of memory: what was finished is kept; resume with fewer workers"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Worker:
    """What a worker process examines with: its own examiner, or why it has none."""

    examiner: Examiner | None = None
    error: PnPError | None = None

    @classmethod
    def start(cls, make_system: MakeSystem, classes: Classes, options: RunOptions) -> None:
        """Called once in each process."""
        import torch

        torch.set_num_threads(max(1, torch.get_num_threads() // options.workers))
        try:
            cls.examiner = Examiner(make_system(), classes, options)
        except PnPError as error:  # raised here it would only break the pool
            cls.error = error

    @classmethod
    def settings(cls) -> dict[str, Any]:
        """Of its system. Raises the PnPError of its start."""
        return cls._ready().system.settings()

    @classmethod
    def examine(cls, sample: Sample) -> ImageRecord:
        """The record of a sample. Raises the PnPError of its start."""
        return cls._ready()(sample)

    @classmethod
    def _ready(cls) -> Examiner:
        if cls.examiner is None:
            raise cls.error or OutputError("a worker process was not started")
        return cls.examiner


def _reporter(progress: Progress | None, total: int, classes: int) -> Callable[[Iterable[ImageRecord]], None]:
    """A function that takes new records and tells `progress` how far the run is."""
    confusion = empty_confusion(classes)
    done = 0

    def report(records: Iterable[ImageRecord]) -> None:
        nonlocal confusion, done
        for record in records:
            done += 1
            if record.counts:
                confusion = confusion + next(iter(record.counts.values())).confusion()
        if progress:
            progress(done, total, confusion)

    return report
