"""What a refiner costs with the built-in model: CPU seconds of a photo by its number of classes, and memory.

    python benchmarks/refiners.py [--refine densecrf densecrf-compiled pamr sam] [--sam mobile-sam] [--runs 3]

A photograph of scikit-image, 500 x 375, one thread, the preset's maps of the classes given; processor time of `label` less that
without a refiner, the fastest of RUNS in turns after one that loads and compiles. Memory: what the process needs more at its peak
than before, weights that are loaded included.
"""

from __future__ import annotations

import argparse
import time

import torch
from machine import forget_peak, measured, resident_mb
from skimage import data

from pnp_ovss import Segmenter
from pnp_ovss.refiners import sam
from pnp_ovss.trace import Trace

SIZE = (375, 500)
NAMES = ("person", "flag", "rocket", "helmet")
COUNTS = (1, 2, 4)


def main() -> None:
    """Print a row a refiner."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--refine", nargs="+", default=["densecrf", "densecrf-compiled", "pamr", "sam"])
    parser.add_argument("--sam", default="mobile-sam", help="which model the refiner sam has")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    about = measured()
    photo = data.astronaut()[: SIZE[0], : SIZE[1]]
    plain = Segmenter.from_pretrained("pocket", refine="none", device="cpu")
    traces = [plain.look(plain.prepare(photo, NAMES, keep=NAMES[:count])) for count in COUNTS]
    plain.label(traces[-1])
    print(f"{about['date']}, {about['machine']}\n")
    print(f"| refiner | {' | '.join(f'classes: {count}' for count in COUNTS)} | MB |\n|:--|--:|--:|--:|--:|")
    for name in options.refine:
        forget_peak()
        before = resident_mb()
        refined = plain.replace(refine=name, refine_options={"model": options.sam} if name == "sam" else {})
        refined.label(traces[-1])
        more_mb = resident_mb("VmHWM") - before
        turns = [[seconds(refined, trace) - seconds(plain, trace) for trace in traces] for _ in range(options.runs)]
        costs = " | ".join(f"{min(turn[i] for turn in turns):.2f} s" for i in range(len(COUNTS)))
        print(f"| {refined.refiner.name} | {costs} | {more_mb:.0f} |", flush=True)
    if "sam" in options.refine:
        model, start = sam._loaded(options.sam, "cpu"), time.process_time()
        model.encode(photo)
        print(f"\nof SAM's seconds its encoder takes {time.process_time() - start:.2f}")


def seconds(segmenter: Segmenter, trace: Trace) -> float:
    """Of the processor, for the labels of a trace."""
    start = time.process_time()
    segmenter.label(trace)
    return time.process_time() - start


if __name__ == "__main__":
    main()
