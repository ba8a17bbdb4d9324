"""Seconds and peak memory of the forms of the Dense CRF, in one process, in turn: torch's, numba's and pydensecrf2.

    python benchmarks/crf.py [--refiners NAME ...] [--channels 2 3 4 6 21 59 171] [--threads 1] [--repeats 5]

Needs numba (the extra `fast`), what `make crf-oracle` installs (a C++ compiler) and Linux. One photo (scikit-image's `coffee`),
from scores to Q; the best of the repeats counts, as on a shared machine the least disturbed run says most: CPU seconds, and
seconds on the wall with more threads than one. "New size": the first picture of its size, whose position lattice `densecrf` has
to build. "6 of 171" are 6 live classes of a vocabulary of 171 against the reference on all 171 channels, which is what it has to
do. Peak memory is what a fresh process adds to its resident set while it refines at 768 x 768; "first" is its first, tiny picture.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from machine import forget_peak, measured, resident_mb
from skimage import data, transform
from torch import Tensor

from pnp_ovss.refiners import densecrf, get_refiner

VOCABULARY, LIVE = 171, 6
NAMES = ("densecrf", "densecrf-compiled", "densecrf-reference")
SIZES = [(375, 500), (480, 640)]
ALONE = [(2, 0), (6, 0), (21, 0), (LIVE, VOCABULARY - LIVE)]

Refine = Callable[[np.ndarray, Tensor], Tensor]


def photo(height: int, width: int) -> np.ndarray:
    """The photo (height, width, 3) uint8."""
    return (transform.resize(data.coffee(), (height, width), order=1, anti_aliasing=True) * 255).astype(np.uint8)


def class_maps(channels: int, height: int, width: int) -> Tensor:
    """Scores (channels, height, width) float32: a blob a class, smooth as class maps are."""
    centres = np.random.default_rng(0).random((channels, 2)) * (height, width)
    y, x = torch.arange(height)[:, None], torch.arange(width)[None, :]
    scores = torch.empty(channels, height, width)
    for out, (centre_y, centre_x) in zip(scores, centres, strict=True):
        out.copy_(torch.exp(-((y - centre_y) ** 2 + (x - centre_x) ** 2) / (0.2 * width) ** 2))
    return scores


def ways_of(names: list[str], absent: int) -> dict[str, Refine]:
    """{what is timed: how}; the first is what the others are compared with."""
    ours = get_refiner("densecrf", absent_classes=absent)

    def new_size(image: np.ndarray, scores: Tensor) -> Tensor:
        densecrf._gaussian_kernel.cache_clear()
        return ours.refine(image, scores)

    ways = {name: get_refiner(name, absent_classes=absent).refine for name in names}
    return {"densecrf, new size": new_size, **ways}


def compare(ways: dict[str, Refine], size: tuple[int, int], channels: int, threads: int, repeats: int) -> list[str]:
    """Best seconds of each way, and how well the others agree with the first: equal labels and the largest ΔQ."""
    torch.set_num_threads(threads)
    clock = time.process_time if threads == 1 else time.perf_counter
    image, scores = photo(*size), class_maps(channels, *size)
    q = {way: refine(image, scores) for way, refine in ways.items()}
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats):
        for way, refine in ways.items():
            start = clock()
            refine(image, scores)
            best[way] = min(best[way], clock() - start)
    first, *others = q.values()
    equal = [f"{100 * float((first.argmax(0) == other.argmax(0)).double().mean()):.4f} %" for other in others]
    apart = [f"{float((first - other).abs().max()):.0e}" for other in others]
    return [*(f"{seconds:.3f}" for seconds in best.values()), *equal, *apart]


def alone(name: str, channels: int, absent: int) -> tuple[float, float]:
    """CPU seconds of the first, tiny picture and MB at the peak of a large one, the scores themselves not counted."""
    torch.set_num_threads(1)
    image, scores = photo(768, 768), class_maps(channels, 768, 768)
    start = time.process_time()
    refiner = get_refiner(name, absent_classes=absent)
    refiner.refine(image[:16, :16], scores[:, :16, :16])
    first_s = time.process_time() - start
    forget_peak()
    before = resident_mb()
    refiner.refine(image, scores)
    return first_s, resident_mb("VmHWM") - before


def in_fresh_processes(*what: str) -> tuple[float, ...]:
    """The least of three of what `alone` finds."""
    command = [sys.executable, __file__, "--alone", *what]
    found = [json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(3)]
    return tuple(map(min, zip(*found, strict=True)))


def row(*cells: object) -> None:
    """Print a row of a table as soon as it is known."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def main() -> None:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--refiners", nargs="+", default=NAMES)
    parser.add_argument("--channels", type=int, nargs="+", default=[2, 3, 4, 6, 21, 59, 171])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--repeats", type=int, default=5, help="a third of them from 50 channels on")
    parser.add_argument("--alone", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(alone(options.alone[0], *map(int, options.alone[1:]))))
        return
    print(measured(max(options.threads)))
    names = options.refiners
    row(
        "size",
        "channels",
        "threads",
        "densecrf, new size",
        *names,
        *(f"labels, {n}" for n in names),
        *(f"ΔQ, {n}" for n in names),
    )
    row(*["---"] * (4 + 3 * len(names)))
    for threads in options.threads:
        for size in SIZES:
            for channels, absent in [*((count, 0) for count in options.channels), (LIVE, VOCABULARY - LIVE)]:
                repeats = options.repeats if channels + absent < 50 else max(1, options.repeats // 3)
                found = compare(ways_of(names, absent), size, channels, threads, repeats)
                count = f"{channels} of {channels + absent}" if absent else channels
                row(f"{size[1]} x {size[0]}", count, threads, *found)
    print()
    row("refiner", "channels", "first, s", "peak, MB")
    row(*["---"] * 4)
    for name in names:
        for channels, absent in ALONE:
            first_s, peak_mb = in_fresh_processes(name, str(channels), str(absent))
            row(name, f"{channels} of {channels + absent}", f"{first_s:.2f}", f"{peak_mb:.0f}")


if __name__ == "__main__":
    main()
