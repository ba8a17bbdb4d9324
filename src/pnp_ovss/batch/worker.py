"""The process that segments: one model, one photo at a time, or some at once. It may die; `pool` deals with that.

It is sent lists of (number, ref) and None to end, and sends ("ready", facts), ("row", row) for each in their order,
("error", text) before it ends because of an unexpected error, or ("refused", PnPError) when no worker could do the job.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pnp_ovss.batch.folder import BatchFolder
from pnp_ovss.batch.job import Job
from pnp_ovss.batch.rows import failed_row, result_row
from pnp_ovss.batch.sources import PhotoReader, PhotoRef, stamp_of
from pnp_ovss.candidates import Candidates
from pnp_ovss.errors import ImageError, ModelError, OutputError, PnPError
from pnp_ovss.files import write_atomically
from pnp_ovss.images import read_image
from pnp_ovss.pictures.labels_image import labels_image, png_bytes
from pnp_ovss.provenance import digest, library_versions, recorded

if TYPE_CHECKING:
    from pnp_ovss.segmentation import Segmentation
    from pnp_ovss.trace import Photo

Task = tuple[int, PhotoRef]
Row = dict[str, Any]


def serve(connection: Connection, job: Job, out: Path, device: str, threads: int) -> None:
    """Segment what arrives until None does, the driver dies, or something unexpected happens."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver ends the workers
    _die_with_parent()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the driver is gone
        try:
            worker = _Worker(job, out, device, threads)
        except PnPError as error:
            connection.send(("refused", error))
            return
        except Exception as error:  # a broken installation, a CUDA that does not answer: no worker could start
            connection.send(("refused", ModelError(f"no worker can start: {type(error).__name__}: {error}")))
            return
        connection.send(("ready", worker.facts()))
        _answer(connection, worker)


def _answer(connection: Connection, worker: _Worker) -> None:
    while (tasks := connection.recv()) is not None:
        try:
            for row in worker.rows(tasks):
                connection.send(("row", row))
        except OutputError as error:
            connection.send(("refused", error))
            return
        except Exception as error:  # whatever a model raises; this process may be spoilt, so it ends
            connection.send(("error", f"{type(error).__name__}: {error}"))
            return


def _die_with_parent() -> None:
    """End this process when the driver is gone, even while a photo keeps the main thread busy."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _Opened(NamedTuple):
    """A photo or why it cannot be read, the stamp of what was read, the time that it took."""

    photo: Photo | PnPError
    stamp: str
    seconds: float


class _Worker:
    """A segmenter with what it needs to make rows."""

    def __init__(self, job: Job, out: Path, device: str, threads: int) -> None:
        os.environ |= {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": str(threads)}  # before torch is imported
        warnings.simplefilter("ignore")  # a million photos would repeat them a million times
        self._job = job
        self._folder = BatchFolder(out)
        self._read = PhotoReader()
        self._segmenter = job.make_segmenter(device)
        self._listed = None if job.candidates is None else Candidates(job.candidates)

    def facts(self) -> dict[str, Any]:
        """What the manifest says about the model."""
        config = recorded(self._segmenter.config)
        return {
            "model": self._segmenter.vlm.name,
            "weights": self._segmenter.weights,
            "config_hash": digest(config.to_dict()),
            "config": config.to_dict(),
            "versions": library_versions(),
        }

    def rows(self, tasks: Sequence[Task]) -> Iterator[Row]:
        """A row of each photo, in their order; they are segmented together.

        Raises OutputError, and anything that the model raises by accident.
        """
        opened = [self._open(ref) for _, ref in tasks]
        results = self._segmenter.segment_photos([each.photo for each in opened], self._job.classes)
        for (number, ref), each, result in zip(tasks, opened, results, strict=True):
            yield self._row(number, ref, each, result)

    def _open(self, ref: PhotoRef) -> _Opened:
        from pnp_ovss.trace import Photo  # imports torch, which the driver does without

        start = time.perf_counter()
        try:
            source = self._read(ref)
            stamp = stamp_of(source) if isinstance(source, Path) else ref.stamp
            keep = None if self._listed is None else self._listed.of(ref.id)
            photo = Photo(read_image(source), ref.id, keep)
        except PnPError as error:
            photo, stamp = error, ref.stamp
        return _Opened(photo, stamp, time.perf_counter() - start)

    def _row(self, number: int, ref: PhotoRef, opened: _Opened, result: Segmentation | PnPError) -> Row:
        if isinstance(result, OutputError):
            raise result
        if isinstance(result, PnPError):
            cause = "image" if isinstance(result, ImageError) else "refused"
            return failed_row(number, ref, cause, _named(str(result), ref))
        png = self._save(number, result) if self._job.png else None
        seconds = opened.seconds + sum(result.seconds.values())
        return result_row(number, ref, result, stamp=opened.stamp, png=png, seconds=seconds)

    def _save(self, number: int, result: Segmentation) -> str:
        path = self._folder.png_path(number)
        write_atomically(self._folder.root / path, png_bytes(labels_image(result.labels, len(result.class_names))))
        return path


def _named(message: str, ref: PhotoRef) -> str:
    """The message with the photo's id in place of 'the image'."""
    return message.replace("the image", ref.id, 1) if message.startswith("the image") else message
