"""Does the label-free reward find the right layer and head? Rewards from image-level tags, truth from masks.

    nice python benchmarks/tuning_truth.py ../shared/data/voc --work /tmp/tuning-truth

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
import platform
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.stats import spearmanr

from pnp_ovss.config import SegmenterConfig, resolve_config
from pnp_ovss.datasets import Dataset, open_dataset
from pnp_ovss.evaluation.intervals import ImageCounts, bootstrap_difference
from pnp_ovss.evaluation.metrics import compute, empty_confusion, merge, update
from pnp_ovss.segmenter import Segmenter, label_image, library_versions
from pnp_ovss.tuning.maps import MapStore
from pnp_ovss.tuning.masks import GradcamMasks
from pnp_ovss.tuning.objective import Objective
from pnp_ovss.tuning.reward import REWARDS, Evidence, Reward, among_own, paper_reward
from pnp_ovss.tuning.scorers import make_scorer
from pnp_ovss.tuning.search import THRESHOLDS
from pnp_ovss.tuning.tags import dataset_tags
from pnp_ovss.vlms.base import VisionLanguageModel
from pnp_ovss.vlms.loading import find_preset, load_vlm

TRUTH_PX = 160
EVERYTHING = Reward("everything", paper_reward, vocabulary=True, cut=any(r.cut for r in REWARDS.values()))
"""What the scorer must be asked so that every reward can be computed."""
Point = tuple[int, int | str, float]


def cached(path: Path, compute_it: Callable[[], Any]) -> Any:
    """The JSON at this path, computed and written there if it is not."""
    if not path.exists():
        path.write_text(json.dumps(compute_it()), "utf-8")
    return json.loads(path.read_text("utf-8"))


def answers_of(objective: Objective, config: SegmenterConfig) -> list[dict[str, Any]]:
    """What the scorer said of every counted photo, as JSON: any reward can be computed from it afterwards."""
    found = [objective.evidence(index, config) for index in objective.counted]
    return [
        {
            key: value.double().round(decimals=4).tolist() if isinstance(value, torch.Tensor) else value
            for key, value in vars(evidence).items()
        }
        for evidence in found
    ]


def rewards_from(answers: Sequence[dict[str, Any]]) -> dict[str, float]:
    """{reward: its mean over classes and photos} and the masks' mean area."""
    values: dict[str, list[float]] = {name: [] for name in REWARDS} | {"area": []}
    for answer in answers:
        tensors = {key: torch.tensor(value) for key, value in answer.items() if key != "own" and value is not None}
        evidence = Evidence(own=tuple(answer["own"]), **tensors)
        for name, reward in REWARDS.items():
            values[name] += reward.rate(evidence if reward.vocabulary else among_own(evidence)).tolist()
        values["area"] += answer["areas"]
    return {name: float(np.mean(column)) for name, column in values.items()}


class Truth:
    """mIoU of one pass on photos with masks."""

    def __init__(self, vlm: VisionLanguageModel, data: Dataset, config: SegmenterConfig, folder: Path) -> None:
        self.vlm = vlm
        self.names = data.names
        self.store = MapStore(vlm, dataset_tags(data), config, folder)
        if not (folder / "done").exists():
            self.store.build()
            (folder / "done").touch()
        self.truths = [small_labels(sample.labels()) for sample in data]
        assert len(self.truths) == len(self.store.images), "a photo without any class"

    def counts(self, config: SegmenterConfig) -> list[list[list[int]]]:
        """One sparse confusion matrix a photo."""
        segmenter = Segmenter(self.vlm, config)
        found = []
        for index, truth in enumerate(self.truths):
            own = [self.names.index(name) + 1 for name in self.store.images[index].class_names]
            maps = self.store.maps(index, config.layer, config.head)
            scores, channels = segmenter.label_scores(maps, range(len(own)), truth.shape)
            labels = np.array([0, *own])[label_image(scores, channels, truth.shape)]
            confusion = update(empty_confusion(len(self.names)), truth, labels)
            found.append(ImageCounts.of(confusion).to_json())
        return found


def small_labels(labels: np.ndarray) -> np.ndarray:
    """(H, W) labels at TRUTH_PX on the longer side, nearest."""
    scale = TRUTH_PX / max(labels.shape)
    size = (round(labels.shape[1] * scale), round(labels.shape[0] * scale))
    return np.asarray(Image.fromarray(labels.astype(np.int32)).resize(size, Image.Resampling.NEAREST))


def miou(counts: Sequence[ImageCounts]) -> float:
    """Mean IoU, background included."""
    return compute(merge(*(image.confusion() for image in counts)), background=True).miou


def main() -> None:
    """Rewards, truth, comparison, plot."""
    given = parse()
    torch.set_num_threads(1)
    preset = find_preset(given.model)
    vlm = load_vlm(preset, device="cpu")
    config = resolve_config(preset, size_px=given.size, refine="none", blur=given.blur, threshold=given.threshold)
    weights = sum(float(p.detach().double().abs().sum()) for p in vlm.model.parameters())  # type: ignore[attr-defined]
    work = given.work / f"{preset.name}-{weights:.6e}-{given.size}-{given.scorer.replace(':', '-')}-{given.scorer_size}"
    work.mkdir(parents=True, exist_ok=True)
    train, val = (open_dataset("voc", given.voc, split=split) for split in ("train", "val"))

    store = MapStore(vlm, dataset_tags(train), config, work / "train")
    if not (work / "train/done").exists():
        store.build()
        (work / "train/done").touch()
    scorer = make_scorer(given.scorer, vlm, size_px=given.scorer_size, device="cpu")
    objective = Objective(store, GradcamMasks(store), scorer, EVERYTHING)
    several = tuple(i for i, image in enumerate(store.images) if len(image.class_names) > 1)
    objective.counted = several[: given.images]
    heads = [(layer, head) for layer in vlm.layers for head in (*range(1, vlm.heads + 1), "mean")]
    points: list[Point] = [(layer, head, given.threshold) for layer, head in heads]

    def reward_at(point: Point) -> dict[str, float]:
        name = f"answers-{len(objective.counted)}-{point}.json"
        return rewards_from(cached(work / name, lambda: answers_of(objective, at(config, point))))

    rewards = {point: reward_at(point) for point in points}
    truth = Truth(vlm, val, config, work / "val")

    def counts_at(point: Point) -> list[ImageCounts]:
        rows = cached(work / f"truth-{point}.json", lambda: truth.counts(at(config, point)))
        return [ImageCounts.from_json(row, len(val.names) + 1) for row in rows]

    counts = {point: counts_at(point) for point in points}
    result = compare(points, rewards, counts)
    for chosen in result["choices"].values():
        along = [(chosen["layer"], chosen["head"], t) for t in THRESHOLDS]
        chosen["threshold_curve"] = [
            {"threshold": p[2], "miou": round(miou(counts_at(p)), 4)}
            | {name: round(value, 4) for name, value in reward_at(p).items()}
            for p in along
        ]
    result = about(given, preset.name, config, scorer.name, store, objective, len(val)) | result
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    plot(result, given.out.with_suffix(".png"))
    print_result(result)


def at(config: SegmenterConfig, point: Point) -> SegmenterConfig:
    """The configuration of a point."""
    return config.replace(layer=point[0], head=point[1], threshold=point[2])


def compare(points: Sequence[Point], rewards: dict, counts: dict) -> dict[str, Any]:
    """Rank correlations and choices of every reward against the truth; halves of val as a check of each other."""
    true = np.array([miou(counts[p]) for p in points])
    table = {name: np.array([rewards[p][name] for p in points]) for name in REWARDS}
    alive = true > true.min() + 1e-9
    best = points[int(true.argmax())]
    choices = {}
    for name, values in table.items():
        chosen = points[int(values.argmax())]
        behind = bootstrap_difference(counts[chosen], counts[best], range(counts[best][0].size))
        halves = [[miou(counts[p][start::2]) for p in points] for start in (0, 1)]
        choices[name] = {
            "layer": chosen[0],
            "head": chosen[1],
            "miou": round(float(true[int(values.argmax())]), 4),
            "rank": int((true > true[int(values.argmax())]).sum()) + 1,
            "behind_best": [round(v, 4) for v in (behind.value, behind.low, behind.high)],
            "spearman": round(float(spearmanr(values, true).statistic), 3),
            "spearman_of_heads_with_a_map": round(float(spearmanr(values[alive], true[alive]).statistic), 3),
            "spearman_on_halves_of_val": [round(float(spearmanr(values, half).statistic), 3) for half in halves],
        }
    rows = [
        {"layer": p[0], "head": p[1], "miou": round(float(true[i]), 4)}
        | {name: round(float(values[i]), 4) for name, values in table.items()}
        | {"area": round(rewards[p]["area"], 4)}
        for i, p in enumerate(points)
    ]
    spread = {"best": true.max(), "median": np.median(true), "worst": true.min()}
    return {"miou": {k: round(float(v), 4) for k, v in spread.items()}, "choices": choices, "points": rows}


def about(
    given: argparse.Namespace, model: str, config: SegmenterConfig, scorer: str, store: MapStore, objective: Objective,
    val_images: int,
) -> dict[str, Any]:  # fmt: skip
    """What the numbers depend on."""
    return {
        "date": date.today().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, one thread",
        "versions": library_versions(),
        "model": model,
        "size_px": config.size_px,
        "threshold": given.threshold,
        "blur": config.blur,
        "scorer": f"{scorer} at {given.scorer_size} px",
        "train_images": len(store.images),
        "train_images_of_one_class": sum(len(image.class_names) == 1 for image in store.images),
        "train_images_counted": len(objective.counted),
        "val_images": val_images,
        "protocol": "one GradCAM pass, oracle classes, no refiner, labels at 160 px, background counted",
    }


def plot(result: dict[str, Any], path: Path) -> None:
    """mIoU against each reward, one point a layer and head."""
    from matplotlib.figure import Figure

    names = list(result["choices"])
    figure = Figure(figsize=(4.2 * len(names), 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for layer in sorted({row["layer"] for row in result["points"]}):
            rows = [row for row in result["points"] if row["layer"] == layer]
            axes.scatter([r[name] for r in rows], [100 * r["miou"] for r in rows], s=24, label=f"layer {layer}")
        choice = result["choices"][name]
        chosen = next(r for r in result["points"] if (r["layer"], r["head"]) == (choice["layer"], choice["head"]))
        axes.plot(chosen[name], 100 * chosen["miou"], "k*", markersize=13, label="chosen")
        axes.axhline(100 * result["miou"]["best"], color="0.6", linestyle=":")
        axes.set(xlabel=f"reward '{name}'", ylabel="mIoU, %", title=f"rank correlation {choice['spearman']:.2f}")
        axes.legend(fontsize=7)
    figure.savefig(path, dpi=110)


def print_result(result: dict[str, Any]) -> None:
    """The comparison as text."""
    print("mIoU over layers and heads:", result["miou"])
    for name, choice in result["choices"].items():
        print(f"{name:12s}", {key: value for key, value in choice.items() if key != "threshold_curve"})


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
    parser.add_argument("--threshold", type=float, default=0.25)
    parser.add_argument("--blur", type=float, default=0.05)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/tuning-truth.json"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
