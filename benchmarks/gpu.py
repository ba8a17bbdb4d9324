"""What a photo costs on a card, in one command: python benchmarks/gpu.py [--device cuda] [--minutes 9] [--json FILE]

One photo (scikit-image's `astronaut`), five passes (R = 4), policy `all`, the Dense CRF on the card with six classes: BLIP-large
at 320 and 768 px and BridgeTower-large at 770, float32 and bfloat16, 20 and 171 names, and BLIP-large at 320 px with 4 and 16
photos at once (seconds are a photo's); beside them the published way (`published.py`, its blur and CRF on the processor), MaskCLIP
and ReCo at 320 px. Random weights of the true size: time does not
depend on their values. Each row is run once to warm up, then `--runs` times or as long as its part of the minutes lasts; rows
that no time was left for are named. "of the limit": the multiplications that BLIP needs over the rate of plain products on the
same device, without the refiner. --tiny: small models and photos, to try the script anywhere.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import inference_speed
import models
import numpy as np
import published
import torch
from machine import forget_peak, measured, resident_mb
from sizes import BLIP_LARGE, Sizes, build_blip, flops
from skimage import data
from speed import gemm_rate, live_threshold

from pnp_ovss import Segmenter, SegmenterConfig
from pnp_ovss.datasets.vocabulary import get_vocabulary
from pnp_ovss.testing.small_models import bpe_files
from pnp_ovss.vlms.base import VisionLanguageModel
from pnp_ovss.vlms.bridgetower import BridgeTowerVLM
from pnp_ovss.vlms.encoders.bpe import BpeTokenizer

TINY = Sizes(48, 1, 2, text_width=48, text_layers=9)
PLACES = {"BLIP-large": (8, 10), "BridgeTower-large": (2, 8)}
"""The paper's layer and head of each model, from 1."""
COLUMNS = (
    "system",
    "precision",
    "px",
    "names",
    "at once",
    "s a photo",
    "of which refiner",
    "runs",
    "peak MiB",
    "of the limit",
)
AT_ONCE = (4, 16)
"""Photos that are segmented together, beside the rows of one."""
Run = Callable[[], float]
"""Labels the photo once, or as often as the row says together; seconds a photo in the refiner."""


@dataclass
class Row:
    """One system's cost. at_once: photos that are segmented together.

    seconds: a photo, of each run on the wall. peak_mib: of the card's memory, of the process's without one.
    """

    system: str
    precision: str
    px: int
    names: int
    at_once: int = 1
    seconds: list[float] = field(default_factory=list)
    refine_s: float = 0.0
    peak_mib: float = 0.0
    limit_share: float | None = None

    def cells(self) -> tuple[str, ...]:
        """Of the table."""
        deviation = f" +- {statistics.stdev(self.seconds):.3f}" if len(self.seconds) > 1 else ""
        share = "" if self.limit_share is None else f"{self.limit_share:.0%}"
        mean = f"{statistics.fmean(self.seconds):.3f}{deviation}" if self.seconds else "not run"
        asked = (self.system, self.precision, self.px, self.names, self.at_once)
        return (*map(str, asked), mean, f"{self.refine_s:.3f}", str(len(self.seconds)), f"{self.peak_mib:.0f}", share)


@dataclass(frozen=True)
class Bench:
    """Where and how long it is measured."""

    device: str
    runs: int
    tiny: bool

    def vlm(self, name: str, precision: str) -> VisionLanguageModel:
        """An adapter around random weights."""
        torch.manual_seed(0)
        if name == "BLIP-large":
            model = build_blip(TINY if self.tiny else BLIP_LARGE).requires_grad_(False).to(self.device)
            return published.wrap(model, precision=precision)
        model, _ = models.bridgetower()
        folder = bpe_files(Path(tempfile.mkdtemp()))
        model = model.eval().requires_grad_(False).to(self.device)
        return BridgeTowerVLM(model, BpeTokenizer.from_folder(folder), precision=precision)

    def ours(self, row: Row, names: list[str]) -> Run:
        """The library as a user calls it, with six classes for the CRF."""
        vlm, (layer, head) = self.vlm(row.system, row.precision), PLACES[row.system]
        config = SegmenterConfig(policy="all", normalise="global", size_px=row.px, layer=layer, head=head)
        config = config.replace(threshold=live_threshold(vlm, config, self.photo, names))
        segmenter, photos = Segmenter(vlm, config), [self.photo] * row.at_once
        together = lambda: segmenter.segment_many(photos, names, at_once=row.at_once)  # noqa: E731
        return lambda: statistics.fmean(result.seconds["refine"] for result in together())

    def as_published(self, px: int, names: list[str]) -> Run:
        """All five passes of it."""
        vlm = self.vlm("BLIP-large", "float32")
        config = SegmenterConfig(policy="all", normalise="global", size_px=px)
        config = config.replace(threshold=live_threshold(vlm, config, self.photo, names))
        return lambda: published.segment(vlm.model, config, self.photo, names, 5)[1]

    def other(self, make: Callable, names: list[str]) -> Run:
        """A system of `inference_speed`."""
        label, _ = make(self.device, names, Path(tempfile.mkdtemp()))
        photo = np.asarray(inference_speed.squashed(self.photo))

        def run() -> float:
            label(photo)
            return 0.0

        return run

    @property
    def photo(self) -> np.ndarray:
        """(512, 512, 3), tiny (64, 64, 3)."""
        return data.astronaut()[::8, ::8] if self.tiny else data.astronaut()

    def measure(self, row: Row, run: Run, seconds: float) -> None:
        """Fill the row: one run to warm up, then so many, or as long as the seconds last."""
        stop = time.perf_counter() + seconds
        run()
        self._forget_peak()
        refined = []
        while len(row.seconds) < self.runs and (not row.seconds or time.perf_counter() < stop):
            start = time.perf_counter()
            refined.append(run())
            if self.device == "cuda":
                torch.cuda.synchronize()
            row.seconds.append((time.perf_counter() - start) / row.at_once)
        row.refine_s = statistics.fmean(refined)
        row.peak_mib = torch.cuda.max_memory_allocated() / 2**20 if self.device == "cuda" else resident_mb("VmHWM")

    def _forget_peak(self) -> None:
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            forget_peak()

    def jobs(self) -> Iterator[tuple[Row, Callable[[], Run]]]:
        """Rows and what makes their run, the most telling first."""
        names = list(get_vocabulary("coco_stuff171").names)
        small, large, tower = (32, 64, 64) if self.tiny else (320, 768, 770)
        for at_once in (1, *AT_ONCE):
            for precision in ("bfloat16", "float32"):
                yield self._job(Row("BLIP-large", precision, small, 20, at_once))
        yield Row("as published", "float32", small, 20), lambda: self.as_published(small, names[:20])
        for title, make in (("MaskCLIP", inference_speed.maskclip), ("ReCo", inference_speed.reco)):
            if not self.tiny:
                yield Row(title, "float32", small, 20), lambda make=make: self.other(make, names[:20])
        further = [(large, 20, "bfloat16"), (large, 20, "float32"), (small, 171, "bfloat16")]
        for px, count, precision in (*further, (small, 171, "float32"), (large, 171, "bfloat16")):
            yield self._job(Row("BLIP-large", precision, px, count))
        for precision in ("bfloat16", "float32"):
            if not self.tiny:
                yield self._job(Row("BridgeTower-large", precision, tower, 20))

    def _job(self, row: Row) -> tuple[Row, Callable[[], Run]]:
        return row, lambda: self.ours(row, list(get_vocabulary("coco_stuff171").names[: row.names]))

    def limit_s(self, row: Row) -> float | None:
        """The least time of BLIP's multiplications for a photo; None of other systems."""
        if row.system != "BLIP-large":
            return None
        sizes, names = TINY if self.tiny else BLIP_LARGE, list(get_vocabulary("coco_stuff171").names[: row.names])
        rate = gemm_rate(getattr(torch, row.precision), 0.1 if self.tiny else 2.0, self.device)
        tokens = published.tokens(published.wrap(build_blip(TINY)), names)  # the words are the same at any size
        return flops(sizes, row.px, tokens) / rate


def measure(options: argparse.Namespace) -> dict:
    """All rows that the minutes allow; the report as JSON values."""
    bench, about = Bench(options.device, options.runs, options.tiny), measured(1, options.device)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # random weights have denormal gradients, trained ones have none
    stop, jobs, rows = time.perf_counter() + 60 * options.minutes, list(bench.jobs()), []
    print(f"{about['date']}, {about['machine']}\n\n| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    for place, (row, make) in enumerate(jobs):
        left = stop - time.perf_counter()
        if left > 0:
            bench.measure(row, make(), left / (len(jobs) - place))
            if limit := bench.limit_s(row):
                row.limit_share = limit / (statistics.fmean(row.seconds) - row.refine_s)
        rows.append(row)
        print(f"| {' | '.join(row.cells())} |", flush=True)
    return {
        **about,
        "options": {k: v for k, v in vars(options).items() if k != "json"},
        "rows": [asdict(r) for r in rows],
    }


def main() -> None:
    """Measure, print the table, and write the JSON where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.runs < 1:
        parser.error(f"--runs {options.runs}: ask for 1 or more")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no card here; --device cpu --tiny tries the script")
    report = measure(options)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
