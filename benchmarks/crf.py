"""Seconds and peak memory of `densecrf` beside pydensecrf2, in one process, for K = 2..171 channels.

python benchmarks/crf.py [--channels 2 5 21] [--threads 1 2] [--repeats 5] [--out benchmarks/results/crf]

Needs what `make crf-oracle` installs (a C++ compiler) and Linux. Ours and the reference run in turn on one photo
(scikit-image's `coffee` at 640 x 480), each from scores to Q, 10 iterations; the best of the repeats counts, as on a
shared machine the least disturbed run says most. "Made anew": the first picture of its size, whose position lattice has to
be built; "kept": any later one. "6 of 171" are 6 live classes of a vocabulary of 171 against the reference on all 171
channels, which is what it has to do. Peak memory is what a fresh process adds to its resident set while it refines at
768 x 768. Writes OUT.json and OUT.md.
"""

import argparse
import json
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from machine import machine, measured
from skimage import data, transform

from pnp_ovss.refiners import densecrf, get_refiner

VOCABULARY, LIVE = 171, 6


def photo(height: int, width: int) -> np.ndarray:
    """The photo (height, width, 3) uint8."""
    return (transform.resize(data.coffee(), (height, width), order=1, anti_aliasing=True) * 255).astype(np.uint8)


def class_maps(channels: int, height: int, width: int) -> torch.Tensor:
    """Scores (channels, height, width) float32: a blob a class, smooth as class maps are."""
    centres = np.random.default_rng(0).random((channels, 2)) * (height, width)
    y, x = torch.arange(height)[:, None], torch.arange(width)[None, :]
    scores = torch.empty(channels, height, width)
    for out, (centre_y, centre_x) in zip(scores, centres, strict=True):
        out.copy_(torch.exp(-((y - centre_y) ** 2 + (x - centre_x) ** 2) / (0.2 * width) ** 2))
    return scores


def clocked(run) -> tuple[float, float, torch.Tensor]:
    """Wall seconds, CPU seconds and result of `run()`."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def compare(channels: int, absent: int, threads: int, repeats: int) -> dict:
    """Best times of both on `channels` live channels and `absent` further classes, in turn, and how well they agree."""
    torch.set_num_threads(threads)
    image, scores = photo(480, 640), class_maps(channels, 480, 640)
    ours = get_refiner("densecrf", absent_classes=absent)
    reference = get_refiner("densecrf-reference", absent_classes=absent)
    anew, kept, theirs = [], [], []
    for _ in range(repeats):
        densecrf._gaussian_kernel.cache_clear()
        anew.append(clocked(lambda: ours.refine(image, scores)))
        kept.append(clocked(lambda: ours.refine(image, scores)))
        theirs.append(clocked(lambda: reference.refine(image, scores)))
    q, expected = kept[0][2], theirs[0][2]
    best = {f"{name}_{clock}_s": round(min(run[place] for run in runs), 4)
            for name, runs in [("anew", anew), ("kept", kept), ("reference", theirs)]
            for place, clock in enumerate(["wall", "cpu"])}  # fmt: skip
    clock = "cpu" if threads == 1 else "wall"
    return {
        "channels": channels,
        "absent": absent,
        "threads": threads,
        **best,
        "ratio_anew": round(best[f"reference_{clock}_s"] / best[f"anew_{clock}_s"], 2),
        "ratio_kept": round(best[f"reference_{clock}_s"] / best[f"kept_{clock}_s"], 2),
        "equal_labels": round(float((q.argmax(0) == expected.argmax(0)).double().mean()), 6),
        "max_difference": float((q - expected).abs().max()),
    }


def peak_mb(name: str, channels: int, absent: int) -> float:
    """MB that a fresh process adds to its peak resident set while refining at 768 x 768."""
    command = [sys.executable, __file__, "--peak", name, str(channels), str(absent)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_peak(name: str, channels: int, absent: int) -> None:
    """Refine once here and print by how many MB the resident set grew at its peak, the scores themselves not counted."""
    torch.set_num_threads(1)
    image, scores = photo(768, 768), class_maps(channels, 768, 768)
    refiner = get_refiner(name, absent_classes=absent)
    refiner.refine(image[:16, :16], scores[:, :16, :16])
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = resident_kb("VmRSS")
    refiner.refine(image, scores)
    print((resident_kb("VmHWM") - before) / 1024)


def resident_kb(entry: str) -> int:
    """This process's resident set now (VmRSS) or at its peak (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(entry))


def about() -> dict:
    """What the figures depend on."""
    versions = {package: version(package) for package in ("torch", "numpy", "pydensecrf2")}
    instructions = torch.backends.cpu.get_cpu_capability()
    return {"date": measured()["date"], "cpu": f"{machine(2)}, {instructions}", **versions}


def markdown(report: dict) -> str:
    """The report as a page."""
    facts = report["machine"]
    lines = [
        "# Dense CRF: ours against pydensecrf2",
        "",
        f"`python benchmarks/crf.py`, {facts['date']}, {facts['cpu']} (a shared machine: "
        f"best of {report['repeats']} runs in turn, a third as many from K = 59); "
        f"torch {facts['torch']}, pydensecrf2 {facts['pydensecrf2']}. 640 x 480, 10 iterations, float32. One thread: CPU "
        "seconds; two: wall. The reference has one thread. Ratios above 1: ours is faster.",
        "",
        "| channels | threads | ours, made anew | kept | reference | ratio anew | kept | equal labels | max ΔQ |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        clock = "cpu" if row["threads"] == 1 else "wall"
        name = f"{row['channels']} of {row['channels'] + row['absent']}" if row["absent"] else row["channels"]
        seconds = " | ".join(f"{row[f'{way}_{clock}_s']:.3f} s" for way in ("anew", "kept", "reference"))
        lines.append(
            f"| {name} | {row['threads']} | {seconds} | {row['ratio_anew']:.2f} | {row['ratio_kept']:.2f} "
            f"| {100 * row['equal_labels']:.3f} % | {row['max_difference']:.0e} |"
        )
    lines += ["", "| peak memory at 768 x 768, scores not counted | MB |", "|---|---|"]
    lines += [f"| {name} | {megabytes:.0f} |" for name, megabytes in report["peak_mb"].items()]
    return "\n".join(lines) + "\n"


def peaks() -> dict[str, float]:
    """Peak memory of both on few and many channels."""
    return {
        f"ours, {LIVE} live of {VOCABULARY}": peak_mb("densecrf", LIVE, VOCABULARY - LIVE),
        "ours, 21 channels": peak_mb("densecrf", 21, 0),
        "reference, 21 channels": peak_mb("densecrf-reference", 21, 0),
        f"reference, {LIVE} live of {VOCABULARY}": peak_mb("densecrf-reference", LIVE, VOCABULARY - LIVE),
    }


def write(report: dict, out: Path) -> None:
    """Write OUT.json and OUT.md, after every row, so that a run cut short leaves what it found."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    out.with_suffix(".md").write_text(markdown(report))


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, nargs="+", default=[2, 3, 5, 7, 21, 59, 171])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/crf"))
    parser.add_argument("--peak", nargs=3, metavar=("REFINER", "CHANNELS", "ABSENT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print_peak(options.peak[0], int(options.peak[1]), int(options.peak[2]))
        return
    report = {"machine": about(), "repeats": options.repeats, "rows": [], "peak_mb": peaks()}
    for threads in options.threads:
        for channels, absent in [(LIVE, VOCABULARY - LIVE), *((k, 0) for k in options.channels)]:
            repeats = options.repeats if channels + absent < 50 else max(1, options.repeats // 3)
            report["rows"].append(compare(channels, absent, threads, repeats))
            write(report, options.out)
    print(markdown(report))


if __name__ == "__main__":
    main()
