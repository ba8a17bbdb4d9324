"""Computes the trunk's middle features (block 14, stride 16) of every photo once, in float16, resumably."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pnp_ovss.vlms.encoders.efficientnet import MIDDLE_CHANNELS, STRIDE_PX, load_trunk

BATCH = 8  # small ones stay in the processor's caches: twice as fast as 32
HELD_OUT = 10
"""Every tenth photo of the complete sources of `more` is held out, for presence figures (split "held")."""


@dataclass(frozen=True)
class View:
    """How a photo is looked at: squashed to a square of this many pixels, mirrored or not."""

    size_px: int
    mirrored: bool = False

    @property
    def name(self) -> str:
        """Part of the cache's file name."""
        return f"{self.size_px}{'m' if self.mirrored else ''}"


def read_records(data: Path, more: Path | None = None) -> list[dict]:
    """The lines of pairs.jsonl, then of more.jsonl, each with its photo's `path`: the sharper copy where there is one."""
    records = _read_lines(data / "pairs.jsonl")
    for record in records:
        record["path"] = _sharpest(data, more, record["image"])
    return records + ([] if more is None else _more_records(more))


def _more_records(more: Path) -> list[dict]:
    records, complete = _read_lines(more / "more.jsonl"), 0
    for record in records:
        record["path"] = more / "images" / record["image"]
        complete += record["complete"]
        if record["complete"] and complete % HELD_OUT == 0:
            record["split"] = "held"
    return records


def _read_lines(path: Path) -> list[dict]:
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _sharpest(data: Path, more: Path | None, image: str) -> Path:
    copies = (
        [] if more is None else [more / folder / f"{Path(image).stem}.webp" for folder in ("images_voc", "images_coco")]
    )
    return next((path for path in copies if path.exists()), data / "images" / image)


def read_photo(path: Path, view: View) -> np.ndarray:
    """The photo squashed to (S, S, 3), bicubic, uint8."""
    with Image.open(path) as photo:
        pixels = np.asarray(photo.convert("RGB").resize((view.size_px, view.size_px), Image.Resampling.BICUBIC))
    return pixels[:, ::-1] if view.mirrored else pixels


def read_pixels(path: Path, size_px: int) -> np.ndarray:
    """The photo squashed to (3, S, S) as (x − 127) / 128 in float32."""
    pixels = read_photo(path, View(size_px)).astype(np.float32)
    return np.ascontiguousarray(((pixels - 127) / 128).transpose(2, 0, 1))


def cache_file(work: Path, view: View) -> Path:
    """Where the features of one view are kept; a `.done` file beside it counts the photos."""
    return work / f"middle-{view.name}.npy"


def count_cached(work: Path, view: View) -> int:
    """How many photos the cache of one view has."""
    progress = cache_file(work, view).with_suffix(".done")
    return int(progress.read_text()) if progress.exists() else 0


def open_cache(work: Path, view: View, count: int) -> np.ndarray:
    """The features (count, P, P, 120) of one view, opened for writing; made if missing."""
    path, side = cache_file(work, view), view.size_px // STRIDE_PX
    shape = (count, side, side, MIDDLE_CHANNELS)
    if path.exists():
        return np.lib.format.open_memmap(path, mode="r+")
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)


def fill(records: list[dict], work: Path, view: View) -> None:
    """Fill the cache from where the last run stopped."""
    start = count_cached(work, view)
    path, features = cache_file(work, view), open_cache(work, view, len(records))
    trunk = load_trunk().bfloat16().to(memory_format=torch.channels_last)
    with torch.inference_mode(), ThreadPoolExecutor(1) as reader:

        def load(first: int) -> torch.Tensor:
            batch = [record["path"] for record in records[first : first + BATCH]]
            return torch.from_numpy(np.stack([read_photo(path, view) for path in batch]))

        firsts = range(start, len(records), BATCH)
        pending = reader.submit(load, start) if len(firsts) else None
        for first in firsts:
            pixels = pending.result()
            pending = reader.submit(load, first + BATCH) if first + BATCH < len(records) else None
            middle = trunk.middle(((pixels.permute(0, 3, 1, 2).float() - 127) / 128).bfloat16())
            features[first : first + len(pixels)] = middle.permute(0, 2, 3, 1).half().numpy()
            path.with_suffix(".done").write_text(str(first + len(pixels)))
    features.flush()
