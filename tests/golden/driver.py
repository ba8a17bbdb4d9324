"""Digests of sums, scores and labels of many runs, for comparing two states of the source bit by bit.

    python tests/golden/driver.py --base COMMIT      # `make golden BASE=COMMIT`

runs itself over the source of a commit and over the present one (same machine, same Python, one thread) and lists what
differs. Only names that both have are used: the Segmenter as a function, the rows of the ablation, the page's steps,
the masks of tuning. Models: the built-in one and a small random BLIP, whose rows all differ.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pnp_ovss.config import SegmenterConfig

PROJECT = Path(__file__).parents[2]
NAMES = ("cat", "dog", "sofa", "person", "table")
COMMON: dict[str, Any] = {"size_px": 128, "threshold": 0.2, "blur": 0.04, "drops": 2, "refine": "none", "policy": "all"}
"""Everything that a preset might change is fixed here, or a changed preset would look like a changed method."""
COMMON |= {"accumulate": "raw", "normalise": "per_class", "match_threshold": 0.4}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "crf": {"refine": "densecrf"},
    "itm": {"policy": "itm"},
    "drops": {"drops": 4, "drop_score": "tokens"},
    "no drop, sharp": {"drops": 0, "blur": 0.0},
    "per pass": {"accumulate": SegmenterConfig().accumulate, "threshold": 0.6},
    "one scale": {"normalise": "global", "thresholding": "soft"},
    "aspect": {"keep_aspect": True, "hole": "mean"},
    "margin": {"gradient": "margin", "hole": "remove_tokens"},
    "attention": {"gradient": "none", "softmax_over_classes": True, "background": "zero_max"},
}


def photos() -> Iterator[tuple[str, np.ndarray]]:
    """Twelve photographs: scikit-image's, and crops of them in other shapes."""
    import skimage
    from PIL import Image

    folder = Path(skimage.__file__).parent / "data"
    for name in ("chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg"):
        photo = Image.open(folder / name).convert("RGB")
        width, height = photo.size
        boxes = ((0, 0, width, height), (width // 4, 0, width, height), (0, height // 3, width // 2, height))
        for number, box in enumerate(boxes):
            yield f"{name} {number}", np.asarray(photo.crop(box).resize((200, 150 - 20 * number)))


def models(folder: Path) -> dict[str, Any]:
    """{name: adapter}."""
    import torch

    from pnp_ovss import Segmenter
    from pnp_ovss.testing.small_models import small_blip, wordpiece_file

    torch.set_num_threads(1)
    blip = folder / "blip"
    small_blip().save_pretrained(blip)
    wordpiece_file(blip)
    (blip / "preset.toml").write_text('[model]\nfamily = "blip"\n')
    return {name: Segmenter.from_pretrained(name, device="cpu", layer=2, head=1).vlm for name in ("pocket", str(blip))}


def outcomes(vlm: Any, photo: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Every array of every setting, row, step and mask of one photo."""
    from pnp_ovss import Segmenter, SegmenterConfig
    from pnp_ovss.evaluation.ablation import AblationSystem
    from pnp_ovss.evaluation.systems import Query
    from pnp_ovss.web.steps import segment_in_steps

    base = SegmenterConfig().replace(layer=2, head="mean", **COMMON)
    for name, settings in SETTINGS.items():
        result = Segmenter(vlm, base.replace(**settings))(photo, NAMES)
        for kind in ("maps", "scores", "labels"):
            yield f"{name}: {kind}", getattr(result, kind)
    segmenter = Segmenter(vlm, base.replace(refine="densecrf"))
    classes = tuple((name,) for name in NAMES)
    for row, answer in AblationSystem(segmenter).answer(Query("photo", photo, classes, (1, 2))).items():
        yield f"ablation {row}", answer.labels
    for step in segment_in_steps(segmenter, photo, NAMES, image_id="photo", report=lambda _: None)[1]:
        yield f"page {step.name}", step.labels


def masks(vlm: Any, photo: np.ndarray, folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The masks that tuning scores, at its three stages."""
    from PIL import Image

    from pnp_ovss import SegmenterConfig
    from pnp_ovss.tuning.maps import MapStore, TaggedImage
    from pnp_ovss.tuning.masks import masks_at

    folder.mkdir()
    Image.fromarray(photo).save(folder / "photo.png")
    base = SegmenterConfig().replace(layer=2, head="mean", **COMMON)
    store = MapStore(vlm, [TaggedImage(folder / "photo.png", NAMES)], base, folder / "maps").build()
    for stage in ("gradcam", "dropout", "crf"):
        yield f"tuning {stage}", masks_at(stage, store)(0, base).numpy()


def digests() -> dict[str, str]:
    """{model, photo, what: digest} of everything."""
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model, vlm in models(folder).items():
            for number, (photo, pixels) in enumerate(photos()):
                arrays = [*outcomes(vlm, pixels), *masks(vlm, pixels, folder / f"{Path(model).name}-{number}")]
                found |= {f"{Path(model).name} | {photo} | {what}": _digest(array) for what, array in arrays}
    return found


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(f"{array.dtype} {array.shape} ".encode() + np.ascontiguousarray(array).tobytes()).hexdigest()


def digests_of(tree: Path) -> dict[str, str]:
    """What this script finds when the package is that of another checkout."""
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), "--print"]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def compare(base: str) -> int:
    """Print what differs from a commit; the number of differences."""
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / "base"
        git = ["git", "-C", str(PROJECT), "worktree"]
        subprocess.run([*git, "add", "--detach", "--quiet", str(tree), base], check=True)
        try:
            before, after = digests_of(tree), digests_of(PROJECT)
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)
    different = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    print("\n".join(different[:60]))
    print(f"{len(before)} arrays at {base}, {len(different)} differ, {len(set(before.values()))} are distinct")
    return len(different)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", help="the commit to compare with")
    parser.add_argument("--print", action="store_true", help="print the digests of the package that is imported")
    options = parser.parse_args()
    if options.print:
        print(json.dumps(digests()))
    else:
        sys.exit(min(1, compare(options.base)))
