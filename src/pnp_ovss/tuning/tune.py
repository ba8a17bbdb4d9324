"""Tuning as one call: layer, head and T by the reward on the stage's masks, then the blur with these fixed (§4.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pnp_ovss.config import SegmenterConfig
from pnp_ovss.files import shown as path_text
from pnp_ovss.images import check_file
from pnp_ovss.outputs import content
from pnp_ovss.tuning.maps import MapStore, TaggedImage
from pnp_ovss.tuning.masks import FinishedMasks, masks_at
from pnp_ovss.tuning.objective import Effort, Objective
from pnp_ovss.tuning.reward import get_reward
from pnp_ovss.tuning.scorers import Scorer
from pnp_ovss.tuning.search import BLURS, THRESHOLDS, Search, SearchPlan, Space, Trial, best_trial
from pnp_ovss.vlms.base import VisionLanguageModel

Report = Callable[[Trial], None]


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """What is tuned, and on which masks.

    reward: a name of `REWARDS`. stage: `gradcam`, `dropout` or `crf`. mean_head: whether the mean over a layer's
    heads competes with its heads. thresholds, blurs: values of T and of the blur; no blurs leaves it as it is.
    """

    reward: str = "paper"
    stage: str = "gradcam"
    mean_head: bool = False
    thresholds: tuple[float, ...] = THRESHOLDS
    blurs: tuple[float, ...] = BLURS
    plan: SearchPlan = field(default_factory=SearchPlan)


@dataclass(frozen=True)
class Tuned:
    """The chosen settings and what they rest on.

    settings: layer, head, threshold and, if tuned, blur. trials, blur_trials: everything that was tried. counted,
    left_out: images that could earn a reward or not. map_s: seconds for the maps of all layers and heads.
    """

    settings: dict[str, Any]
    trials: tuple[Trial, ...]
    blur_trials: tuple[Trial, ...]
    counted: int
    left_out: int
    map_s: float
    effort: Effort

    @property
    def best(self) -> Trial:
        """The chosen trial of layer, head and threshold."""
        return best_trial(self.trials)


def search_space(vlm: VisionLanguageModel, options: TuneOptions) -> Space:
    """Every layer with cross-attention, every head and threshold (Table 2)."""
    heads = [*range(1, vlm.heads + 1), *(["mean"] if options.mean_head else [])]
    return {"layer": vlm.layers, "head": heads, "threshold": options.thresholds}


def tune(
    store: MapStore,
    scorer: Scorer,
    options: TuneOptions,
    *,
    journal: Path | None = None,
    resume: bool = False,
    report: Report | None = None,
) -> Tuned:
    """Search layer, head and threshold, then the blur on the masks before the refiner.

    store: built maps of the tagged photos. journal: a file that keeps the trials; None: in memory.
    Raises ConfigError when no photo can earn a reward or the journal belongs to another search.
    """
    reward = get_reward(options.reward)
    base = store.config
    objective = Objective(store, masks_at(options.stage, store), scorer, reward)
    search = Search(
        search_space(store.vlm, options), options.plan, journal=journal, basis=basis(store, scorer, options)
    )
    search.run(lambda point: objective(base.replace(**point)), resume=resume, report=report)
    trials = search.trials()
    best = best_trial(trials).point
    fixed = base.replace(**best, refine="none", refine_options={})
    finished = Objective(store, FinishedMasks(store), scorer, reward)
    blurs = [_blur_trial(finished, fixed, blur, report) for blur in options.blurs]
    chosen = best_trial(blurs).point if blurs else {}
    return Tuned(
        settings=best | chosen,
        trials=tuple(trials),
        blur_trials=tuple(blurs),
        counted=len(objective.counted),
        left_out=objective.left_out,
        map_s=store.seconds,
        effort=objective.effort,
    )


def _blur_trial(objective: Objective, config: SegmenterConfig, blur: float, report: Report | None) -> Trial:
    trial = Trial({"blur": blur}, objective(config.replace(blur=blur)), 1)
    if report:
        report(trial)
    return trial


def basis(store: MapStore, scorer: Scorer, options: TuneOptions) -> dict[str, Any]:
    """Everything that a trial depends on besides its point: photos by their content, and the weights themselves."""
    return {
        "model": store.vlm.name,
        "weights": store.segmenter.weights,
        "images": {f"{i}:{path_text(image.path.name)}": _image(image) for i, image in enumerate(store.images, 1)},
        "config": store.config.to_dict(),
        "scorer": scorer.name,
        "reward": options.reward,
        "stage": options.stage,
    }


def _image(image: TaggedImage) -> dict[str, Any]:
    """A photo's content, as twelve hex digits of its bytes, and its tags. Raises ImageError when it is gone."""
    check_file(image.path)
    return {"content": content(image.path), "classes": list(image.class_names)}
