"""A segmenter that dies of certain photos, and corpora that hold them. Workers import it by name.

It is no neural network: it labels the pixels that have a class's colour, so that a worker starts in a blink.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

from pnp_ovss.batch.job import Job
from pnp_ovss.config import SegmenterConfig
from pnp_ovss.errors import PnPError
from pnp_ovss.provenance import Provenance
from pnp_ovss.segmentation import Segmentation
from pnp_ovss.segmenter import Segmenter
from pnp_ovss.testing.fake_vlm import SIGNAL_HEAD, SIGNAL_LAYER, FakeVLM

CLASSES = (("red",), ("green",), ("blue",))
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
POISON = {"kill": (1, 2, 3), "hang": (1, 2, 4), "hog": (1, 2, 5), "raise": (1, 2, 6)}
"""What a photo of this one colour does to its worker."""


class ColourSegmenter:
    """Labels by exact colour."""

    vlm = SimpleNamespace(name="colours")
    weights = "0" * 12

    def __init__(self, job: Job) -> None:
        self.config = SegmenterConfig(**job.settings)

    def __call__(self, image, classes, *, keep=None, image_name=None):
        poison(tuple(image[0, 0].tolist()))
        labels = np.zeros(image.shape[:2], dtype=np.uint16)
        names = tuple(group[0] for group in classes)
        for label, name in enumerate(names, 1):
            labels[(image == COLOURS[name]).all(axis=2)] = label
        return Segmentation(
            labels=labels, class_names=names, scores=np.zeros((1, 1, 1), np.float32), channels=(0,),
            maps=np.zeros((0, 1, 1), np.float32), kept=(), match_scores=dict.fromkeys(names, 0.25), image=image,
            image_name=image_name,
            provenance=Provenance(
                model="colours", weights="", method="custom", policy="all", refiner="none", passes=0, config=self.config
            ),
        )  # fmt: skip

    def segment_photos(self, photos, classes):
        for photo in photos:
            refused = isinstance(photo, PnPError)
            yield photo if refused else self(photo.image, classes, keep=photo.keep, image_name=photo.name)


def poison(colour: tuple[int, ...]) -> None:
    """Do what photos of this colour do."""
    if colour == POISON["kill"]:
        os.kill(os.getpid(), signal.SIGKILL)
    if colour == POISON["hog"]:
        hog = np.ones(1 << 27)  # 1 GiB, touched
        time.sleep(3600)
        del hog
    if colour == POISON["hang"]:
        time.sleep(3600)
    if colour == POISON["raise"]:
        raise RuntimeError("device-side assert triggered")


class SlowSegmenter(ColourSegmenter):
    """Takes its time, so that there is some in which to stop the run."""

    def __call__(self, *arguments, **options):
        time.sleep(0.05)
        return super().__call__(*arguments, **options)


class TogetherSegmenter(ColourSegmenter):
    """Half a second a photo, all of it before the first result."""

    def segment_photos(self, photos, classes):
        time.sleep(0.5 * len(photos))
        return super().segment_photos(photos, classes)


class FakeSegmenter(Segmenter):
    """The real method over the fake model, with the same poison."""

    def __init__(self, job: Job) -> None:
        signal_only = {"layer": SIGNAL_LAYER, "head": SIGNAL_HEAD, "size_px": 64, "refine": "none"}
        super().__init__(FakeVLM(), SegmenterConfig(**(signal_only | {"drops": 1, "blur": 0.01} | dict(job.settings))))

    def segment_photos(self, photos, classes):
        for photo in photos:
            if not isinstance(photo, PnPError):
                poison(tuple(photo.image[0, 0].tolist()))
        return super().segment_photos(photos, classes)


KINDS = {
    "colours": ColourSegmenter,
    "slow": SlowSegmenter,
    "together": TogetherSegmenter,
    "fake": FakeSegmenter,
    "missing": lambda _: import_module("no_such_module"),
    "unready": lambda _: os._exit(3),
}


@dataclass(frozen=True, kw_only=True)
class PoisonedJob(Job):
    """A job whose segmenter is one of the above."""

    kind: str = "colours"

    def make_segmenter(self, device: str):
        return KINDS[self.kind](self)


def job(**changes) -> PoisonedJob:
    """A job for the segmenter of `kind`."""
    return PoisonedJob(**({"classes": CLASSES} | changes))


def make_photo(path: Path, seed: int, size: int = 64) -> Path:
    """A photo with two coloured rectangles on black."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((size, size + 16, 3), dtype=np.uint8)
    for name in rng.choice(list(COLOURS), 2, replace=False):
        top, left = rng.integers(0, size - 24, 2)
        pixels[top : top + 24, left : left + 24] = COLOURS[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def make_poison(path: Path, kind: str) -> Path:
    """A photo that does `kind` to whoever segments it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), POISON[kind]).save(path)
    return path


def drive(out: Path, inputs: Path, **given) -> subprocess.Popen:
    """Start `driver.py` in a process group of its own."""
    what = json.dumps({"out": str(out), "inputs": [str(inputs)], **given})
    command = [sys.executable, str(Path(__file__).with_name("driver.py")), what]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def count_done(out: Path) -> int:
    """Rows that are in journals and shards (of 40 photos each)."""
    rows = 40 * len(list((out / "shards").glob("part*")))
    for path in (out / "journal").glob("*.log"):
        with suppress(FileNotFoundError):  # it has just become a shard
            rows += path.read_bytes().count(b"\n")
    return rows


def wait_for_rows(out: Path, count: int, timeout_s: float = 120) -> None:
    """Until the batch has so many rows. Raises TimeoutError."""
    end = time.monotonic() + timeout_s
    while count_done(out) < count:
        if time.monotonic() > end:
            raise TimeoutError(f"{count_done(out)} of {count} rows after {timeout_s} s")
        time.sleep(0.05)


def wait_until_gone(group: int, timeout_s: float = 30) -> None:
    """Until no process of the group is left. Raises TimeoutError."""
    end = time.monotonic() + timeout_s
    with suppress(ProcessLookupError):
        while time.monotonic() < end:
            os.killpg(group, 0)
            time.sleep(0.1)
        raise TimeoutError("a worker outlived its driver")


def read_rows(out: Path) -> list[dict]:
    """All rows of the finished shards, in their order."""
    import pyarrow.parquet as pq

    return [row for path in sorted((out / "shards").iterdir()) for row in pq.read_table(path).to_pylist()]


def without_times(rows: list[dict]) -> list[dict]:
    """What must be equal between runs."""
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def make_photos(folder: Path, count: int) -> Path:
    """A folder of so many photos."""
    for i in range(count):
        make_photo(folder / f"{i:04}.png", i)
    return folder


def run_here(inputs, out, *, jobs=None, resume=False, retry_failed=False, shard_size=8, **resources):
    """A batch in this process; its manifest."""
    from pnp_ovss.batch.job import Resources
    from pnp_ovss.batch.run import run_batch

    return run_batch(
        [str(i) for i in inputs], out, jobs or job(), Resources(**resources), shard_size=shard_size, resume=resume,
        retry_failed=retry_failed,
    )  # fmt: skip
