"""Seconds from photo to labels: the published way, ours in float32 and bfloat16, and what the arithmetic allows.

python benchmarks/speed.py [--model blip-large|blip-base] [--size 336] [--classes 20] [--json FILE] [--threads 1]

All at the same weights (random, true size: time does not depend on their values), side by side in one process, on one
photo (scikit-image's `astronaut`, 512 x 512), R = 4, policy `all`, the Dense CRF on the classes that survive T.
Last line: `ratio float32 A, bfloat16 B, limit share C / D`.
"""

import argparse
import ctypes
import gc
import json
import time
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import published
import torch
from machine import forget_peak, measured, resident_mb
from sizes import BLIP_BASE, BLIP_LARGE, Sizes, build_blip, flops
from skimage import data

from pnp_ovss import Segmenter, SegmenterConfig
from pnp_ovss.vlms.blip import BlipVLM

SIZES = {"blip-large": BLIP_LARGE, "blip-base": BLIP_BASE}
LIVE_CLASSES = 6


@dataclass
class Row:
    """One way's result: seconds of the whole photo, of which in the refiner, and the process's peak memory meanwhile."""

    way: str
    seconds: float
    refine_s: float
    peak_gib: float


def gemm_rate(dtype: torch.dtype, seconds: float = 2.0, device: str = "cpu") -> float:
    """Multiply-adds x 2 per second of (577 x 1024) @ (1024 x 4096) products, the best of several."""
    a, b = torch.randn(577, 1024).to(device, dtype), torch.randn(1024, 4096).to(device, dtype)
    best, stop = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < stop:
        start = time.perf_counter()
        for _ in range(4):
            a @ b
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, (time.perf_counter() - start) / 4)
    return 2 * 577 * 1024 * 4096 / best


def timed(way: str, run) -> tuple[Row, np.ndarray]:
    """Run once and note time and memory; `run` returns (labels, seconds in the refiner)."""
    gc.collect()
    forget_peak()
    start = time.perf_counter()
    labels, refine_s = run()
    seconds, peak = time.perf_counter() - start, resident_mb("VmHWM") / 1024
    print(f"{way:24s} {seconds:8.2f} s, of which refiner {refine_s:6.2f} s, peak {peak:5.2f} GiB", flush=True)
    return Row(way, seconds, refine_s, peak), labels


def ours(vlm: BlipVLM, config: SegmenterConfig, image: np.ndarray, names: list[str]) -> tuple[np.ndarray, float]:
    """The library as a user calls it."""
    result = Segmenter(vlm, config)(image, names)
    return result.labels, result.seconds["refine"]


def live_threshold(vlm: BlipVLM, config: SegmenterConfig, image: np.ndarray, names: list[str]) -> float:
    """The T that leaves LIVE_CLASSES of the classes, halfway between two peaks so that rounding cannot move them."""
    maps = Segmenter(vlm, config.replace(refine="none"))(image, names).maps
    peaks = np.sort(maps.reshape(len(names), -1).max(axis=1))[::-1]
    return float((peaks[LIVE_CLASSES - 1] + peaks[LIVE_CLASSES]) / 2)


def main() -> None:
    """Time the three ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="blip-large", choices=SIZES)
    parser.add_argument("--size", type=int, default=336)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--baseline-passes", type=int, default=5, help="time fewer and multiply (said in the output)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.classes <= LIVE_CLASSES:
        parser.error(
            f"--classes {options.classes}: {LIVE_CLASSES} of them are to survive T, so ask for {LIVE_CLASSES + 1} or more"
        )
    torch.set_num_threads(options.threads)
    # Gradients of random weights reach the vision tower denormal, which makes the published way's backward pass eight times
    # slower than with trained weights; nobody should win by that.
    torch.set_flush_denormal(True)
    report = measure(SIZES[options.model], options)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(report["summary"])


def measure(sizes: Sizes, options: argparse.Namespace) -> dict:
    """All ways on one photo; the report as JSON values."""
    image, names = data.astronaut(), published.class_names(options.classes)
    reference = find_spec("pydensecrf") is not None
    config = SegmenterConfig(policy="all", normalise="global", size_px=options.size)
    rates = {name: gemm_rate(getattr(torch, name)) for name in ("float32", "bfloat16")}
    rates["bfloat16"] = max(rates.values())  # without instructions for it its products are computed in float32
    rows, labels, half, config = whole_precision(sizes, config, image, names, options.baseline_passes)
    work = flops(sizes, options.size, published.tokens(half, names))
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # the last row's peak is that of bfloat16 alone
    for _ in range(2):
        row, _ = timed("ours, bfloat16", lambda: ours(half, config, image, names))
    return {**summarise([*rows, row], labels, rates, work, options), "reference_crf": reference}


def whole_precision(sizes: Sizes, config: SegmenterConfig, image: np.ndarray, names: list[str], passes: int):
    """Ours and the published way in float32: rows, labels, the model converted to bfloat16, the settings used."""
    model = build_blip(sizes)
    vlm = published.wrap(model)
    config = config.replace(threshold=live_threshold(vlm, config, image, names))
    for _ in range(2):  # the second is warm
        mine, found = timed("ours, float32", lambda: ours(vlm, config, image, names))
    published.segment(model, config.replace(drops=0), image, names, 1)  # warm, as the others are
    base, same = timed("as published, float32", lambda: published.segment(model, config, image, names, passes))
    return [mine, base], [found, same], published.wrap(model, precision="bfloat16"), config


def summarise(rows, labels, rates, work, options) -> dict:
    """Ratios, shares of the limit, and everything that says where they hold."""
    mine, base, half = rows
    limits = {name: work / rate for name, rate in rates.items()}
    share = {"float32": limits["float32"] / (mine.seconds - mine.refine_s),
             "bfloat16": limits["bfloat16"] / (half.seconds - half.refine_s)}  # fmt: skip
    same = float((labels[0] == labels[1]).mean()) if options.baseline_passes == 5 else None
    for name in rates:
        print(f"limit {name:9s} {limits[name]:6.2f} s = {work / 1e9:.0f} GFLOP at {rates[name] / 1e9:.0f} GFLOP/s")
    print(f"same labels, float32: {'not compared' if same is None else f'{same:.4%}'} of the pixels")
    return {
        **measured(options.threads),
        "options": {k: v for k, v in vars(options).items() if k != "json"},
        "rows": [asdict(row) for row in rows],
        "limits_s": limits,
        "same_labels": same,
        "summary": f"ratio float32 {base.seconds / mine.seconds:.1f}, bfloat16 {base.seconds / half.seconds:.1f}, "
        f"limit share {share['float32']:.0%} / {share['bfloat16']:.0%} (without the refiner)",
    }


if __name__ == "__main__":
    main()
