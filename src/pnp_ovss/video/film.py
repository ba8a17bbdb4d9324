"""A film in, an overlay film and a mask for every frame that was segmented out; a run that was stopped goes on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.classes import Classes
from pnp_ovss.errors import DependencyError, ImageError
from pnp_ovss.files import locked, replacing, shown, write_json, writing
from pnp_ovss.masks.labels import class_shares
from pnp_ovss.outputs import LOCK, OutputFolder, refuse_inputs
from pnp_ovss.pictures.labels_image import labels_image, png_bytes
from pnp_ovss.pictures.overlay import draw_overlay
from pnp_ovss.provenance import digest, recorded
from pnp_ovss.result_files import read_labels
from pnp_ovss.segmenter import Segmenter
from pnp_ovss.video.smoothing import Smoother

Report = Callable[[int, int], None]
"""Told (frames done, frames in the film or 0)."""
RECORD, OVERLAY, MASKS = "film.json", "overlay.mp4", "masks"


@dataclass(frozen=True, kw_only=True)
class FilmConfig:
    """every: each n-th frame is segmented, those between have its masks. smooth: share of what was before in the scores."""

    every: int = 1
    smooth: float = 0.6


def segment_film(
    segmenter: Segmenter, film: Path, classes: Classes, out: Path, config: FilmConfig, report: Report = lambda *_: None
) -> dict[str, Any]:
    """Write OUT/masks/FRAME.png of every frame that is segmented, OUT/overlay.mp4 and OUT/film.json.

    Masks that a stopped run with the same film, names and settings left are not made again; smoothing begins anew there.
    Those of other runs are removed at the end, and what no run made is not replaced.
    Returns film.json's content. Raises ImageError for what is no film, DependencyError without PyAV, OutputError.
    """
    rate = rate_of(film)
    refuse_inputs([out / OVERLAY], [film], "the film that is read")
    with locked(out / LOCK):
        made, smoother, labels = _begun(out, _made_by(segmenter, film, classes, config)), Smoother(config.smooth), None
        shares: list[dict[str, float]] = []
        count = 0
        with _painting(out / OVERLAY, rate, classes.names) as paint:
            for number, frame, total in frames_of(film):
                if number % config.every == 0:
                    name = f"{MASKS}/{number:06d}.png"
                    labels = read_labels(out / name, frame.shape[:2], len(classes)) if made.has(number) else None
                    if labels is None:
                        labels = smoother.labels(segmenter(frame, classes, image_name=f"{film.name} {number}"))
                        made.write(name, png_bytes(labels_image(labels, len(classes))), of=number)
                    shares.append({"frame": number, **class_shares(labels, classes.names)})
                if labels is not None:  # as it is from frame 0 on
                    paint(frame, labels)
                count = number + 1
                report(count, total)
        record = {"film": film.name, "frames": count, "every": config.every, "classes": list(classes.names),
                  "shares": shares, "config": recorded(segmenter.config).to_dict()}  # fmt: skip
        write_json(out / RECORD, record)
        made.add([out / OVERLAY, out / RECORD])
        made.remove_earlier()
    return record


def _begun(out: Path, made_by: str) -> OutputFolder:
    """The folder of a run that begins, or goes on where the same one stopped. Raises OutputError for files that no run made."""
    made = OutputFolder(out)
    if made.facts.get("made_by") == made_by:
        made.check([OVERLAY, RECORD])
    else:
        made.begin([OVERLAY, RECORD], made_by=made_by)
        with writing(out):
            (out / RECORD).unlink(missing_ok=True)  # it stands beside finished masks only
    return made


def rate_of(film: Path) -> Fraction:
    """Frames in a second; 25 where the film does not say. Raises ImageError, DependencyError."""
    with _opened(film) as container:
        return container.streams.video[0].average_rate or Fraction(25)


def frames_of(film: Path) -> Iterator[tuple[int, NDArray[np.uint8], int]]:
    """(number from 0, upright (H, W, 3) uint8, frames in all or 0) of a film's frames. Raises ImageError, DependencyError."""
    with _opened(film) as container:
        stream = container.streams.video[0]
        for number, frame in enumerate(container.decode(stream)):
            upright = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))  # degrees counterclockwise
            yield number, np.ascontiguousarray(upright), stream.frames


@contextmanager
def _opened(film: Path) -> Generator[Any]:
    av = _av()
    try:
        with av.open(str(film)) as container:
            if not container.streams.video:
                raise ImageError(f"{shown(film)} has no pictures; give a film")
            yield container
    except (av.FFmpegError, OSError) as error:
        raise ImageError(f"{shown(film)} cannot be read as a film: {error}") from None


def _made_by(segmenter: Segmenter, film: Path, classes: Classes, config: FilmConfig) -> str:
    status = film.stat()
    facts = [
        status.st_size,
        status.st_mtime_ns,
        segmenter.weights,
        recorded(segmenter.config).to_dict(),
        [list(g) for g in classes],
    ]
    return digest([*facts, config.every, config.smooth])


@contextmanager
def _painting(path: Path, rate: Fraction, names: Sequence[str]) -> Generator[Callable[..., None]]:
    """What adds a frame and its labels to the overlay film: H.264 or what this PyAV has, at the film's own rate."""
    with replacing(path) as temporary, closing(_av().open(str(temporary), "w", format="mp4")) as container:
        stream: Any = None

        def add(frame: NDArray[np.uint8], labels: NDArray[np.uint16]) -> None:
            nonlocal stream
            picture = draw_overlay(frame, labels, names, legend=False)
            even = picture.crop((0, 0, picture.width // 2 * 2, picture.height // 2 * 2))
            if stream is None:
                stream = container.add_stream("libx264", rate=rate)
                stream.width, stream.height, stream.pix_fmt = even.width, even.height, "yuv420p"
            container.mux(stream.encode(_av().VideoFrame.from_image(even)))

        try:
            yield add
        finally:
            if stream is not None:
                container.mux(stream.encode())


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise DependencyError("films need PyAV: pip install '.[video]'") from None
    return av
