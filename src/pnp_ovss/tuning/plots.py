"""The search as pictures: reward over layer x head and over T."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pnp_ovss.extras import need
from pnp_ovss.files import replacing
from pnp_ovss.tuning.search import Trial, best_trial


def plot_search(trials: Sequence[Trial], path: Path, *, title: str = "") -> None:
    """Save a PNG: each layer and head's best reward (white: not tried), and the rewards of each T.

    Raises DependencyError without matplotlib, OutputError when the file cannot be written.
    """
    need("matplotlib", "the plot", "report")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _plot_heads(figure, left, trials)
    _plot_thresholds(right, trials)
    figure.suptitle(title)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def head_table(trials: Sequence[Trial]) -> tuple[list[Any], list[Any], np.ndarray]:
    """Layers, heads and the best reward of each pair over T, (layers, heads), NaN where nothing was tried."""
    layers = sorted({t.point["layer"] for t in trials})
    heads = sorted({t.point["head"] for t in trials}, key=lambda head: (head == "mean", head))
    table = np.full((len(layers), len(heads)), np.nan)
    for t in trials:
        where = layers.index(t.point["layer"]), heads.index(t.point["head"])
        table[where] = np.fmax(table[where], t.outcome.reward)
    return layers, heads, table


def _plot_heads(figure: Any, axes: Any, trials: Sequence[Trial]) -> None:
    layers, heads, table = head_table(trials)
    picture = axes.imshow(np.ma.masked_invalid(table), cmap="viridis", aspect="auto")
    axes.set_xticks(range(len(heads)), heads)
    axes.set_yticks(range(len(layers)), layers)
    axes.set(xlabel="head", ylabel="layer", title="best reward over T")
    best = best_trial(trials).point
    axes.plot(heads.index(best["head"]), layers.index(best["layer"]), "r*", markersize=16, label="chosen")
    axes.legend(loc="upper right")
    figure.colorbar(picture, ax=axes)


def _plot_thresholds(axes: Any, trials: Sequence[Trial]) -> None:
    thresholds = sorted({t.point["threshold"] for t in trials})
    rewards = [[t.outcome.reward for t in trials if t.point["threshold"] == value] for value in thresholds]
    for value, column in zip(thresholds, rewards, strict=True):
        axes.plot([value] * len(column), column, "o", color="0.6", markersize=4)
    axes.plot(thresholds, [max(column) for column in rewards], "o-", color="tab:blue", label="best")
    axes.plot(thresholds, [float(np.mean(column)) for column in rewards], "s--", color="tab:orange", label="mean")
    axes.set(xlabel="T", ylabel="reward", title="reward over T")
    axes.legend()
