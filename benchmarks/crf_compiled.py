"""CPU seconds and peak memory of `densecrf-compiled` beside `densecrf` and pydensecrf2, in one process, in turn.

python benchmarks/crf_compiled.py [--channels 2 3 4 6 21 59] [--repeats 4]

Needs numba (the extra `fast`) and what `make crf-oracle` installs. One thread, the best of the repeats, photo and class maps as in
`crf.py`, the torch refiner's position lattice kept. Prints tables; ratios above 1: the compiled one is faster.
"""

import argparse
import subprocess
import sys

import torch
from crf import class_maps, clocked, peak_mb, photo
from machine import measured

from pnp_ovss.refiners import get_refiner

NAMES = ("densecrf-compiled", "densecrf", "densecrf-reference")
SIZES = [(375, 500), (480, 640)]
FIRST = """
import time, numpy as np, torch
from pnp_ovss.refiners import get_refiner
start = time.process_time()
get_refiner("densecrf-compiled").refine(np.zeros((9, 9, 3), np.uint8), torch.rand(2, 9, 9))
print(time.process_time() - start)
"""


def compare(size: tuple[int, int], channels: int, repeats: int) -> str:
    """One row of the table."""
    image, scores = photo(*size), class_maps(channels, *size)
    refiners = {name: get_refiner(name) for name in NAMES}
    q = {name: refiner.refine(image, scores) for name, refiner in refiners.items()}
    runs = [{name: clocked(lambda refiner=refiner: refiner.refine(image, scores))[1] for name, refiner in refiners.items()}
            for _ in range(repeats)]  # fmt: skip
    best = {name: min(run[name] for run in runs) for name in NAMES}
    ours, others = q[NAMES[0]], [q[name] for name in NAMES[1:]]
    ratios = [f"{best[name] / best[NAMES[0]]:.2f}" for name in NAMES[1:]]
    equal = [f"{100 * float((ours.argmax(0) == other.argmax(0)).double().mean()):.4f} %" for other in others]
    apart = [f"{float((ours - other).abs().max()):.0e}" for other in others]
    cells = [f"{size[1]} x {size[0]}", channels, *(f"{best[name]:.3f}" for name in NAMES), *ratios, *equal, *apart]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channels", type=int, nargs="+", default=[2, 3, 4, 6, 21, 59])
    parser.add_argument("--repeats", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(measured())
    print("| size | channels | compiled, s | torch, s | pydensecrf2, s | torch / compiled | pydensecrf2 / compiled "
          "| labels as torch | as pydensecrf2 | max ΔQ torch | pydensecrf2 |")  # fmt: skip
    print(f"|:--|{'--:|' * 10}")
    for size in SIZES:
        for channels in options.channels:
            print(compare(size, channels, options.repeats if channels < 50 else 1), flush=True)
    for channels in (2, 6, 21):
        found = [min(peak_mb(name, channels, 0) for _ in range(3)) for name in NAMES[:2]]
        print(
            f"peak memory at 768 x 768, {channels} channels: compiled {found[0]:.0f} MB, torch {found[1]:.0f} MB",
            flush=True,
        )
    first = [
        float(subprocess.run([sys.executable, "-c", FIRST], check=True, capture_output=True, text=True).stdout)
        for _ in range(3)
    ]
    print(f"first photo of a process, numba's import included, kernels in the cache: {min(first):.2f} s")


if __name__ == "__main__":
    main()
