"""Does the label-free reward find the right layer and head? Rewards from image-level tags, truth from masks.

    nice python benchmarks/tuning_truth.py ../shared/data/voc --work runs/tuning-truth

1. Rewards of every layer and head on the `train` photos: tags alone (which classes occur), one GradCAM pass, T fixed.
2. Only then mIoU of every layer and head on the `val` photos, which no reward has seen: the same pass, T and blur, the
   image's own classes compete (policy `oracle`), no refiner, labels compared at 160 px (a cheap stand-in for the full
   pipeline, stage `gradcam` of Table 6).
3. Rank correlation, and mIoU of each reward's choice against the best, median and worst; then T for the choices.

Resumable: every point is kept in --work. Results: benchmarks/results/tuning-truth.json and .png.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import measured
from tuning_compare import Point, compare, miou, plot, print_result

from pnp_ovss.config import SegmenterConfig
from pnp_ovss.datasets import Dataset, open_dataset
from pnp_ovss.evaluation.intervals import ImageCounts
from pnp_ovss.evaluation.metrics import empty_confusion, update
from pnp_ovss.masks.labels import resize_nearest
from pnp_ovss.postprocess import argmax_labels, overlay
from pnp_ovss.presets import get_preset, resolve
from pnp_ovss.provenance import fingerprint
from pnp_ovss.tuning.maps import MapStore
from pnp_ovss.tuning.masks import GradcamMasks
from pnp_ovss.tuning.objective import Objective
from pnp_ovss.tuning.reward import REWARDS, Reward, among_own, paper_reward
from pnp_ovss.tuning.scorers import make_scorer
from pnp_ovss.tuning.search import THRESHOLDS
from pnp_ovss.tuning.tags import dataset_tags
from pnp_ovss.vlms.base import VisionLanguageModel
from pnp_ovss.vlms.checkpoints.loading import load_vlm

TRUTH_PX = 160
EVERYTHING = Reward("everything", paper_reward, vocabulary=True, cut=any(r.cut for r in REWARDS.values()))
"""What the scorer must be asked so that every reward can be computed."""


def cached(path: Path, compute_it: Callable[[], Any]) -> Any:
    """The JSON at this path, computed and written there if it is not."""
    if not path.exists():
        path.write_text(json.dumps(compute_it()), "utf-8")
    return json.loads(path.read_text("utf-8"))


def rewards_of(objective: Objective, config: SegmenterConfig) -> dict[str, float]:
    """{reward: its mean over classes and photos} and the masks' mean area, from one question to the scorer a picture."""
    values: dict[str, list[float]] = {name: [] for name in REWARDS} | {"area": []}
    for index in objective.counted:
        evidence = objective.evidence(index, config)
        for name, reward in REWARDS.items():
            values[name] += reward.rate(evidence if reward.vocabulary else among_own(evidence)).tolist()
        values["area"] += evidence.areas.tolist()
    return {name: float(np.mean(column)) for name, column in values.items()}


class Truth:
    """mIoU of one pass on photos with masks."""

    def __init__(self, vlm: VisionLanguageModel, data: Dataset, config: SegmenterConfig, folder: Path) -> None:
        self.vlm = vlm
        self.names = data.names
        self.store = built(MapStore(vlm, dataset_tags(data), config, folder))
        self.truths = [small_labels(sample.labels()) for sample in data]
        assert len(self.truths) == len(self.store.images), "a photo without any class"

    def counts(self, config: SegmenterConfig) -> list[list[list[int]]]:
        """One sparse confusion matrix a photo."""
        found = []
        for index, truth in enumerate(self.truths):
            own = [self.names.index(name) + 1 for name in self.store.images[index].class_names]
            maps = self.store.maps(index, config.layer, config.head)
            scores, rows = overlay(maps, truth.shape, config)
            labels = argmax_labels(scores, [0 if row is None else own[row] for row in rows], truth.shape)
            confusion = update(empty_confusion(len(self.names)), truth, labels)
            found.append(ImageCounts.of(confusion).to_json())
        return found


def small_labels(labels: np.ndarray) -> np.ndarray:
    """(H, W) labels at TRUTH_PX on the longer side, nearest."""
    scale = TRUTH_PX / max(labels.shape)
    return resize_nearest(labels, (round(labels.shape[0] * scale), round(labels.shape[1] * scale)))


class Study:
    """Rewards and truth of any point, each computed once and kept in a folder that belongs to these weights."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        preset = get_preset(given.model)
        self.model = preset.name
        self.vlm = load_vlm(preset, device="cpu")
        self.config = resolve(preset, size_px=given.size, refine="none", blur=given.blur, threshold=given.threshold)
        scorer = f"{given.scorer.replace(':', '-').replace('/', '-')}-{given.scorer_size}"
        self.work = given.work / f"{preset.name}-{fingerprint(self.vlm.model)}-{given.size}-{given.blur}-{scorer}"
        self.work.mkdir(parents=True, exist_ok=True)
        self.objective = self._objective()

    def _objective(self) -> Objective:
        tagged = dataset_tags(open_dataset("voc", self.given.voc, split="train"))
        self.train_images = len(tagged)
        several = [image for image in tagged if len(image.class_names) > 1][: self.given.images]
        store = built(MapStore(self.vlm, several, self.config, self.work / f"train-{len(several)}"))
        scorer = make_scorer(self.given.scorer, self.vlm, size_px=self.given.scorer_size, device="cpu")
        return Objective(store, GradcamMasks(store), scorer, EVERYTHING)

    @cached_property
    def truth(self) -> Truth:
        """The val photos with masks; not touched before the rewards are known."""
        val = open_dataset("voc", self.given.voc, split="val").subset(self.given.val_images)
        return Truth(self.vlm, val, self.config, self.work / f"val-{len(val)}")

    def points(self) -> list[Point]:
        """Every layer and head, and the mean over heads, at the given T."""
        heads = (*range(1, self.vlm.heads + 1), "mean")
        return [(layer, head, self.given.threshold) for layer in self.vlm.layers for head in heads]

    def reward(self, point: Point) -> dict[str, float]:
        """{reward: value}, from the train photos' tags."""
        path = self.work / f"rewards-{len(self.objective.counted)}-{point}.json"
        return cached(path, lambda: rewards_of(self.objective, at(self.config, point)))

    def counts(self, point: Point) -> list[ImageCounts]:
        """Confusion counts of each val photo."""
        path = self.work / f"truth-{len(self.truth.truths)}-{point}.json"
        rows = cached(path, lambda: self.truth.counts(at(self.config, point)))
        return [ImageCounts.from_json(row, len(self.truth.names) + 1) for row in rows]

    def curve(self, layer: int, head: int | str) -> list[dict[str, float]]:
        """Rewards and mIoU over T."""
        points = [(layer, head, t) for t in THRESHOLDS]
        return [
            {"threshold": p[2], "miou": round(miou(self.counts(p)), 4)}
            | {name: round(value, 4) for name, value in self.reward(p).items()}
            for p in points
        ]

    def about(self) -> dict[str, Any]:
        """What the numbers depend on."""
        return {
            **measured(),
            "model": self.model,
            "size_px": self.config.size_px,
            "threshold": self.config.threshold,
            "blur": self.config.blur,
            "scorer": self.objective.scorer.name,
            "train_images": self.train_images,
            "train_images_of_several_classes_used": len(self.objective.counted),
            "val_images": len(self.truth.truths),
            "protocol": "one GradCAM pass, oracle classes, no refiner, labels at 160 px, background counted",
        }


def main() -> None:
    """Rewards, truth, comparison, plot."""
    given = parse()
    torch.set_num_threads(1)
    study = Study(given)
    points = study.points()
    rewards = {point: study.reward(point) for point in points}
    counts = {point: study.counts(point) for point in points}
    result = study.about() | compare(points, rewards, counts)
    for chosen in result["choices"].values():
        chosen["threshold_curve"] = study.curve(chosen["layer"], chosen["head"])
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    plot(result, given.out.with_suffix(".png"))
    print_result(result)


def built(store: MapStore) -> MapStore:
    """The store, built unless its folder is complete."""
    if not (store.folder / "done").exists():
        store.build()
        (store.folder / "done").touch()
    return store


def at(config: SegmenterConfig, point: Point) -> SegmenterConfig:
    """The configuration of a point."""
    return config.replace(layer=point[0], head=point[1], threshold=point[2])


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("voc", type=Path, help="Pascal VOC with splits train and val")
    parser.add_argument("--work", type=Path, required=True, help="folder for maps and finished points")
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--size", type=int, default=320, help="side of the tuned model's input, px")
    parser.add_argument("--scorer", default="self")
    parser.add_argument("--scorer-size", type=int, default=192)
    parser.add_argument("--images", type=int, help="use the first N train photos of several classes")
    parser.add_argument("--val-images", type=int, help="use the first N val photos")
    parser.add_argument("--threshold", type=float, default=0.25)
    parser.add_argument("--blur", type=float, default=0.05)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/tuning-truth.json"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
