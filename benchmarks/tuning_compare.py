"""Rewards against mIoU: rank correlations, choices and the picture of both. Used by tuning_truth.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from pnp_ovss.evaluation.intervals import ImageCounts, bootstrap_difference
from pnp_ovss.evaluation.metrics import compute
from pnp_ovss.tuning.reward import REWARDS

Point = tuple[int, int | str, float]
"""Layer, head (from 1, or "mean"), T."""


def miou(counts: Sequence[ImageCounts]) -> float:
    """Mean IoU, background included."""
    return compute(sum(image.confusion() for image in counts), background=True).miou


def compare(
    points: Sequence[Point], rewards: Mapping[Point, Mapping[str, float]], counts: Mapping[Point, list[ImageCounts]]
) -> dict[str, Any]:
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
