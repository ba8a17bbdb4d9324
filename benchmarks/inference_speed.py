"""Supplement 10 of the paper: seconds a photo of 320 x 320 px with MaskCLIP, ReCo and PnP-OVSS on BLIP-large.

python benchmarks/inference_speed.py [--runs 20] [--device cpu|cuda|mps] [--threads 1] [--only NAME ...] [--json FILE]

Each system labels scikit-image's `astronaut` at 320 x 320 px with the 20 names of Pascal VOC; one run to warm up, then
mean, standard deviation, fastest and slowest of the others, and the mean of the processor's seconds, which other work on the
machine hardly changes. Weights that are in the hub's cache are used; where there are
none, random ones of the true size (time does not depend on their values, but for the classes that exceed T: with random
weights most do, and each is a channel of the CRF). Texts are encoded once and ReCo's references made once, before the
clock: what a further photo costs.
PnP-OVSS: `--method paper`, layer 8, head 10, five passes, Dense CRF.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import published
import torch
from machine import measured
from PIL import Image
from sizes import BLIP_LARGE, build_blip
from skimage import data

from pnp_ovss import Segmenter
from pnp_ovss.baselines.clip_dense import DenseClip
from pnp_ovss.baselines.maskclip import MODEL, MaskClip
from pnp_ovss.baselines.reco import Reco
from pnp_ovss.clip import Clip
from pnp_ovss.datasets.vocabulary import get_vocabulary
from pnp_ovss.evaluation.paper import paper_figure
from pnp_ovss.evaluation.systems import Query
from pnp_ovss.presets import get_preset, resolve
from pnp_ovss.vlms.checkpoints.hub import cached_folder, checkpoint_source
from pnp_ovss.vlms.checkpoints.loading import load_vlm

SIDE_PX = 320
PRESET = "blip-large-flickr"
LINE = (
    "{system:9s} {mean_s:8.2f} s +- {deviation_s:.2f} ({fastest_s:.2f} to {slowest_s:.2f}), CPU {cpu_mean_s:.2f} s, "
    "{runs} runs, weights {weights}; the paper, on an A6000: {paper_s} s"
)
Photo = np.ndarray
System = tuple[Callable[[Photo], Any], str]
"""What labels a photo, and where its weights are from."""


def squashed(photo: Photo) -> Image.Image:
    """A photograph at 320 x 320 px."""
    return Image.fromarray(photo).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)


def clip(device: str) -> tuple[DenseClip, str]:
    """CLIP ViT-B/16, which both baselines take, at 320 px; and where its weights are from."""
    if cached_folder(checkpoint_source(MODEL, "clip")) is not None:
        return DenseClip(Clip.from_pretrained(MODEL, device=device), size_px=SIDE_PX), MODEL
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    vision = {"patch_size": 16}  # the other sizes are the configuration's own
    model = CLIPModel(CLIPConfig(vision_config=vision, projection_dim=512)).eval().requires_grad_(False)
    return DenseClip(Clip(model.to(device), _letters, name="CLIP ViT-B/16"), size_px=SIDE_PX), "random"


def _letters(text: str, **_: Any) -> SimpleNamespace:
    """A tokenizer of letters, for a CLIP that has none; texts are not timed."""
    return SimpleNamespace(input_ids=[49406, *(ord(letter) % 40_000 for letter in text[:70]), 49407])


def maskclip(device: str, names: list[str], _folder: Path) -> System:
    """MaskCLIP with key smoothing and prompt denoising."""
    dense, weights = clip(device)
    return _asking(MaskClip(dense, background=True), names), weights


def reco(device: str, names: list[str], folder: Path) -> System:
    """ReCo; its references of the 20 names are made here, from eight photographs."""
    for number, photo in enumerate((data.astronaut(), data.chelsea(), data.coffee(), data.rocket())):
        squashed(photo).save(folder / f"{number}.png")
        squashed(photo[:, ::-1]).save(folder / f"{number}-mirrored.png")
    dense, weights = clip(device)
    return _asking(Reco(dense, folder, background=True), names), weights


def _asking(system: Any, names: list[str]) -> Callable[[Photo], Any]:
    query = tuple((name,) for name in names)
    return lambda image: system.answer(Query("photo", image, query, ()))[""].labels


def ours(device: str, names: list[str], _folder: Path) -> System:
    """PnP-OVSS on BLIP-large as the paper has it."""
    preset = get_preset(PRESET)
    config = resolve(preset, "paper", size_px=SIDE_PX)
    if cached_folder(preset) is not None:
        segmenter, weights = Segmenter(load_vlm(preset, device=device), config), PRESET
    else:
        vlm = published.wrap(build_blip(BLIP_LARGE).requires_grad_(False))
        vlm.model.to(device)
        segmenter, weights = Segmenter(vlm, config), "random"
    return lambda image: segmenter(image, names).labels, weights


SYSTEMS = {"maskclip": (maskclip, "MaskClip"), "reco": (reco, "Reco"), "pnp-ovss": (ours, "PnP-OVSS")}
"""Name -> how it is made, and what the paper calls it."""


def time_runs(label: Callable[[Photo], Any], image: Photo, runs: int, device: str) -> tuple[list[float], list[float]]:
    """Each run's seconds on the wall, and of the processor (all threads; of no meaning with a card), after one that warms up."""
    walls, cpus = [], []
    for _ in range(runs + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        label(image)
        if device == "cuda":
            torch.cuda.synchronize()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return walls[1:], cpus[1:]


def summarise(name: str, walls: list[float], cpus: list[float], weights: str) -> dict[str, Any]:
    """One system's row, beside the paper's."""
    return {
        "system": name,
        "weights": weights,
        "mean_s": statistics.fmean(walls),
        "deviation_s": statistics.stdev(walls) if len(walls) > 1 else 0.0,
        "fastest_s": min(walls),
        "slowest_s": max(walls),
        "cpu_mean_s": statistics.fmean(cpus),
        "runs": len(walls),
        "paper_s": paper_figure("speed", "seconds", system=SYSTEMS[name][1]),
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All systems one after the other; the report as JSON values."""
    about = measured(options.threads, options.device)
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)  # random weights have denormal gradients, trained ones have none
    image, names, rows = np.asarray(squashed(data.astronaut())), list(get_vocabulary("voc20").names), []
    for name in options.only:
        with tempfile.TemporaryDirectory() as folder:
            label, weights = SYSTEMS[name][0](options.device, names, Path(folder))
            rows.append(summarise(name, *time_runs(label, image, options.runs, options.device), weights))
        print(LINE.format(**rows[-1]), flush=True)
    print(f"{SIDE_PX} x {SIDE_PX} px, {len(names)} names, {about['machine']}, {about['date']}")
    return {**about, "rows": rows}


def main() -> None:
    """Measure, print a line a system, and write the JSON where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda", "mps"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=list(SYSTEMS), choices=SYSTEMS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    report = measure(options)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
