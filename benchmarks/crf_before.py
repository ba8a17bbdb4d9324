"""Seconds and peak memory of `densecrf` beside those of another source tree, in one process, in turn.

    git worktree add /tmp/before COMMIT
    python benchmarks/crf_before.py /tmp/before/src [--channels 2 3 4 6] [--repeats 5]

One thread, CPU seconds, the best of the repeats, scikit-image's `coffee` and blobs as in `crf.py`, the position lattice kept.
Peak memory is what a fresh process adds to its resident set at 768 x 768 (Linux). Prints a table; ratios above 1: ours is faster.
"""

import argparse
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import torch
from crf import class_maps, clocked, photo
from machine import machine

from pnp_ovss.refiners import get_refiner

SIZES = [(375, 500), (480, 640)]


def refiner_of(source: Path):
    """The Dense CRF of the package in `source`; this tree's modules are put back afterwards."""
    ours = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "pnp_ovss"}
    sys.path.insert(0, str(source))
    try:
        from pnp_ovss import refiners

        if source.resolve() not in Path(str(refiners.__file__)).resolve().parents:
            raise SystemExit(f"{source} holds no pnp_ovss: give the folder `src` of another checkout")
        return refiners.get_refiner("densecrf")
    finally:
        sys.path.remove(str(source))
        for name in [name for name in sys.modules if name.split(".")[0] == "pnp_ovss"]:
            del sys.modules[name]
        sys.modules.update(ours)


def compare(before, now, size: tuple[int, int], channels: int, repeats: int) -> str:
    """One row of the table."""
    image, scores = photo(*size), class_maps(channels, *size)
    for refiner in (before, now):
        refiner.refine(image, scores)
    runs = [(clocked(lambda: before.refine(image, scores)), clocked(lambda: now.refine(image, scores)))
            for _ in range(repeats)]  # fmt: skip
    old_s, new_s = min(old[1] for old, _ in runs), min(new[1] for _, new in runs)
    equal = float((runs[0][0][2].argmax(0) == runs[0][1][2].argmax(0)).double().mean())
    return f"| {size[1]} x {size[0]} | {channels} | {old_s:.3f} | {new_s:.3f} | {old_s / new_s:.2f} | {100 * equal:.4f} % |"


def peak_mb(source: Path, channels: int) -> float:
    """MB at the peak of one refinement by the package in `source`, in a fresh process."""
    command = [sys.executable, str(Path(__file__).with_name("crf.py")), "--peak", "densecrf", str(channels), "0"]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("--channels", type=int, nargs="+", default=[2, 3, 4, 6])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    before, now = refiner_of(options.before), get_refiner("densecrf")
    print(f"{date.today()}, {machine()}, best of {options.repeats} runs in turn")
    print("| size | channels | before, s | now, s | ratio | equal labels |\n|:--|--:|--:|--:|--:|--:|")
    for size in SIZES:
        for channels in options.channels:
            print(compare(before, now, size, channels, options.repeats), flush=True)
    ours = Path(__file__).resolve().parents[1] / "src"
    for channels in (options.channels[0], 21):
        old, new = (min(peak_mb(source, channels) for _ in range(3)) for source in (options.before, ours))
        print(f"peak memory, {channels} channels: {old:.0f} MB before, {new:.0f} MB now (least of 3)", flush=True)


if __name__ == "__main__":
    main()
