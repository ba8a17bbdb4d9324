"""Computes the trunk's middle features (block 14, stride 16) of every training photo once, in float16, resumably.

python training/cache.py --data ../shared/data/pairs --work DIR --size 256
"""

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pnp_ovss.vlms.encoders.efficientnet import MIDDLE_CHANNELS, STRIDE_PX, load_trunk

BATCH = 32


def read_records(data: Path) -> list[dict]:
    """The lines of pairs.jsonl, in order."""
    with open(data / "pairs.jsonl", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def read_photo(path: Path, size_px: int) -> np.ndarray:
    """The photo squashed to (S, S, 3), bicubic, uint8."""
    with Image.open(path) as photo:
        return np.asarray(photo.convert("RGB").resize((size_px, size_px), Image.Resampling.BICUBIC))


def read_pixels(path: Path, size_px: int) -> np.ndarray:
    """The photo squashed to (3, S, S) as (x − 127) / 128 in float32."""
    return np.ascontiguousarray(((read_photo(path, size_px).astype(np.float32) - 127) / 128).transpose(2, 0, 1))


def cache_file(work: Path, size_px: int) -> Path:
    """Where the features of one size are kept; a `.done` file beside it counts the photos."""
    return work / f"middle-{size_px}.npy"


def count_cached(work: Path, size_px: int) -> int:
    """How many photos the cache of one size has."""
    progress = cache_file(work, size_px).with_suffix(".done")
    return int(progress.read_text()) if progress.exists() else 0


def open_cache(work: Path, size_px: int, count: int) -> np.ndarray:
    """The features (count, P, P, 120) of one size, opened for writing; made if missing."""
    path, side = cache_file(work, size_px), size_px // STRIDE_PX
    shape = (count, side, side, MIDDLE_CHANNELS)
    if path.exists():
        return np.lib.format.open_memmap(path, mode="r+")
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)


def fill(data: Path, work: Path, size_px: int) -> Path:
    """Fill the cache from where the last run stopped."""
    records, start = read_records(data), count_cached(work, size_px)
    path, features = cache_file(work, size_px), open_cache(work, size_px, len(records))
    trunk = load_trunk().bfloat16().to(memory_format=torch.channels_last)
    with torch.inference_mode(), ThreadPoolExecutor(1) as reader:

        def load(first: int) -> torch.Tensor:
            batch = [data / "images" / record["image"] for record in records[first : first + BATCH]]
            return torch.from_numpy(np.stack([read_photo(path, size_px) for path in batch]))

        firsts = range(start, len(records), BATCH)
        pending = reader.submit(load, start) if len(firsts) else None
        for first in firsts:
            pixels = pending.result()
            pending = reader.submit(load, first + BATCH) if first + BATCH < len(records) else None
            middle = trunk.middle(((pixels.permute(0, 3, 1, 2).float() - 127) / 128).bfloat16())
            features[first : first + len(pixels)] = middle.permute(0, 2, 3, 1).half().numpy()
            path.with_suffix(".done").write_text(str(first + len(pixels)))
    features.flush()
    return path


def main() -> None:
    """Parse the command line and fill one cache."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--size", type=int, default=256)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    print(fill(options.data, options.work, options.size))


if __name__ == "__main__":
    main()
