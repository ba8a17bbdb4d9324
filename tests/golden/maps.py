"""Maps of the built-in model on four photos, and what `label` made of them: `maps.npz`, which the suite compares with.

    python -m tests.golden.maps        # writes them anew: only after a change that is meant to change labels

The maps are saved as the model gave them, so that no other processor or version of its kernels moves them: what is
compared is the sum of the passes, threshold, resize, blur, background, refiner and argmax alone.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pnp_ovss import Segmenter, SegmenterConfig
from pnp_ovss.testing.fake_vlm import FakeVLM
from pnp_ovss.trace import Pass, Trace
from tests.golden.driver import NAMES, photos

FILE = Path(__file__).with_name("maps.npz")
PHOTOS = ("chelsea.png 0", "coffee.png 1", "astronaut.png 2", "rocket.jpg 0")
MATCH = (0.9, 0.3, 0.6, 0.8, 0.5)
"""Scores of the five names, for the settings that weigh them."""
PLAIN: dict[str, Any] = {"threshold": 0.5, "blur": 0.02, "refine": "none", "competition": "overlay"}
OURS: dict[str, Any] = {"competition": "equal_mass", "threshold": 0.3, "output_px": 150}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "crf": {"refine": "densecrf"},
    "raw, soft": {"accumulate": "raw", "thresholding": "soft", "threshold": 0.2},
    "one scale": {"normalise": "global"},
    "first pass twice": {"first_pass_weight": 2.0, "resize": "bicubic"},
    "zero max": {"background": "zero_max", "resize": "bilinear-align-corners"},
    "no background": {"background": "none", "threshold": 0.9},
    "a number, sharp": {"background": 0.3, "blur": 0.0},
    "ours": OURS,
    "ours, soft presence, cores": {**OURS, "refine": "densecrf", "core_share": 0.3, "soft_presence": True},
}
ROWS = (*SETTINGS, "first pass")
"""The settings, and the plain ones on the first pass alone."""


def segmenter() -> Segmenter:
    """One whose model is never asked: the maps are there."""
    config = SegmenterConfig(layer=2, head=2, size_px=96, policy="all", drops=2, **PLAIN)
    return Segmenter(FakeVLM(), config)


def labels(photo: np.ndarray, maps: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """(rows, H, W) uint8: the labels of every row of `ROWS`, from maps (R + 1, M, P_h, P_w) and what each pass saw."""
    method = segmenter()
    prepared = replace(method.prepare(photo, NAMES), match_scores=MATCH)
    passes = tuple(map(Pass, torch.from_numpy(maps), torch.from_numpy(visible)))
    trace = Trace(prepared, passes)
    found = [method.replace(**settings).label(trace).labels for settings in SETTINGS.values()]
    return np.stack([*found, method.label(trace.first(1)).labels]).astype(np.uint8)


def look(photo: np.ndarray, model: Segmenter) -> tuple[np.ndarray, np.ndarray]:
    """Maps (3, M, P_h, P_w) float32 and what each pass saw, bool."""
    passes = model.look(model.prepare(photo, NAMES, keep=NAMES)).passes
    return np.stack([p.maps.numpy() for p in passes]), np.stack([p.visible.numpy() for p in passes])


def main() -> None:
    """Write the file."""
    torch.set_num_threads(1)
    model, stored = Segmenter.from_pretrained("pocket", device="cpu", size_px=224, drops=2), {}
    for name, photo in photos():
        if name in PHOTOS:
            maps, visible = look(photo, model)
            stored |= {f"{name}|maps": maps, f"{name}|visible": visible, f"{name}|labels": labels(photo, maps, visible)}
    np.savez_compressed(FILE, **stored)


if __name__ == "__main__":
    main()
