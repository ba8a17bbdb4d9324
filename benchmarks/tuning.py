"""What a search costs: saliency once for all trials against one pass a trial, and the scorer beside it.

    python benchmarks/tuning.py ../shared/data/voc --out benchmarks/results/tuning-cost.json

CPU seconds of this process (one thread), so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from machine import measured

from pnp_ovss.datasets import open_dataset
from pnp_ovss.presets import get_preset, resolve
from pnp_ovss.tuning.maps import MapStore
from pnp_ovss.tuning.masks import GradcamMasks
from pnp_ovss.tuning.objective import Objective
from pnp_ovss.tuning.reward import get_reward
from pnp_ovss.tuning.scorers import MatchScorer
from pnp_ovss.tuning.search import SearchPlan, shards_of
from pnp_ovss.tuning.tags import dataset_tags
from pnp_ovss.tuning.tune import TuneOptions, search_space
from pnp_ovss.vlms.base import VisionLanguageModel
from pnp_ovss.vlms.checkpoints.loading import load_vlm


def one_pass_s(vlm: VisionLanguageModel, store: MapStore) -> float:
    """CPU seconds of one pass for one layer and head over all photos: what each trial would need by itself."""
    layer = vlm.layers[len(vlm.layers) // 2]
    segmenter = store.segmenter.replace(layer=layer, head=1, drops=0)
    start = time.process_time()
    for index in range(len(store.images)):
        segmenter.look(store.prepared(index, segmenter))
    return time.process_time() - start


def measure(root: Path, model: str, images: int, scored_trials: int, scorer_px: int) -> dict[str, Any]:
    """Times of the store, of one pass, of masks and of the scorer."""
    preset = get_preset(model)
    config = resolve(preset, refine="none")
    vlm = load_vlm(preset, device="cpu")
    tagged = dataset_tags(open_dataset("voc", root, split="train"))[:images]
    plan, options = SearchPlan(), TuneOptions()
    points = [p for shard in shards_of(search_space(vlm, options), plan) for p in shard[: plan.trials]]
    with tempfile.TemporaryDirectory() as folder:
        store = MapStore(vlm, tagged, config, Path(folder))
        start = time.process_time()
        store.build()
        built = time.process_time() - start
        alone = one_pass_s(vlm, store)
        masks = GradcamMasks(store)
        objective = Objective(store, masks, MatchScorer(vlm, size_px=scorer_px), get_reward("paper"))
        start = time.process_time()
        for point in points:
            for index in objective.counted:
                masks(index, config.replace(**point))
        read = time.process_time() - start
        start = time.process_time()
        for point in points[:scored_trials]:
            objective(config.replace(**point))
        scoring = time.process_time() - start
    return {
        **measured(),
        "model": preset.name,
        "size_px": config.size_px,
        "images": len(tagged),
        "images_that_can_earn": len(objective.counted),
        "trials": len(points),
        "maps_of_all_layers_and_heads_cpu_s": round(built, 2),
        "one_pass_a_trial_cpu_s": round(alone * len(points), 2),
        "times_less": round(alone * len(points) / built, 1),
        "reading_and_thresholding_cpu_s": round(read, 2),
        "scorer": f"match:{preset.name} at {scorer_px} px",
        "scored_trials": scored_trials,
        "pictures_scored": objective.effort.scored,
        "pictures_asked": objective.effort.asked,
        "scorer_cpu_s_a_picture": round(scoring / max(1, objective.effort.scored), 4),
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("voc", type=Path, help="Pascal VOC, with a split train")
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--scored-trials", type=int, default=6, help="trials whose pictures are really scored")
    parser.add_argument("--scorer-size", type=int, default=320)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/tuning-cost.json"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(given.voc, given.model, given.images, given.scored_trials, given.scorer_size)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
