"""The tuned model preset: a TOML file that `--model` takes, with the evidence for its numbers in it."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any

from pnp_ovss.files import write_atomically
from pnp_ovss.presets import ModelPreset
from pnp_ovss.provenance import library_versions
from pnp_ovss.tuning.maps import MapStore
from pnp_ovss.tuning.presence import FittedPresence, RuleResult
from pnp_ovss.tuning.scorers import Scorer
from pnp_ovss.tuning.search import Trial
from pnp_ovss.tuning.tune import Tuned, TuneOptions
from pnp_ovss.words import counted

SCALES = {
    "gradcam": "one GradCAM pass, min-max in [0, 1]; the method compares T with the sum of R + 1 passes in [0, R + 1]",
    "dropout": "the sum of R + 1 passes, as the method compares it",
    "crf": "the sum of R + 1 passes, as the method compares it",
}


def evidence(store: MapStore, scorer: Scorer, options: TuneOptions, tuned: Tuned) -> dict[str, Any]:
    """What the choice rests on, as plain values: data, scorer, search, every trial, versions, date."""
    best = tuned.best.outcome
    return {
        **_circumstances(),
        "source": f"without mask labels: reward '{options.reward}' by {scorer.name} on {counted(tuned.counted, 'image')}, "
        f"{counted(len(tuned.trials), 'trial')}",
        "scorer": scorer.name,
        "reward": options.reward,
        "mask_stage": options.stage,
        "threshold_scale": SCALES[options.stage],
        "size_px": store.config.size_px,
        "sampler": options.plan.sampler,
        "seed": options.plan.seed,
        "shards": options.plan.shards,
        "trials_per_shard": options.plan.trials,
        "images": len(store.images),
        "images_that_can_earn": tuned.counted,
        "images_left_out": tuned.left_out,
        "best_reward": round(best.reward, 4),
        "best_total": round(best.total, 4),
        "equal_best": sum(t.outcome.reward == best.reward for t in tuned.trials),
        "files": [image.path.name for image in store.images],
        "blur_table": [_row(t) for t in tuned.blur_trials],
        "reward_table": [_row(t) for t in sorted(tuned.trials, key=lambda t: -t.outcome.reward)],
    }


def presence_evidence(fitted: FittedPresence) -> dict[str, Any]:
    """What a fitted keep rule rests on, as plain values."""
    found = fitted.chosen.presence
    return {
        **_circumstances(),
        "source": f"match_threshold fitted to image-level tags: micro-F1 {found.micro_f1:.3f} on "
        f"{counted(fitted.images, 'image')}, {counted(len(fitted.names), 'name')}",
        "images": fitted.images,
        "tags": fitted.tags,
        "names": list(fitted.names),
        "rules": [_rule_row(result) for result in fitted.results],
        "f1_by_share_of_median": {str(share): round(f1, 4) for share, f1 in fitted.by_share.items()},
    }


def _rule_row(result: RuleResult) -> dict[str, Any]:
    rule, found, gain = result.rule, result.presence, result.gain
    return {
        "family": result.family,
        "threshold": rule.threshold,
        "relative": rule.relative,
        "top_k": rule.top_k,
        "precision": round(found.precision, 4),
        "recall": round(found.recall, 4),
        "f1": round(found.micro_f1, 4),
        "gain": [round(value, 4) for value in (gain.value, gain.low, gain.high)],
    }


def _circumstances() -> dict[str, Any]:
    return {
        "date": date.today().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": library_versions(),
    }


def write_preset(path: Path, preset: ModelPreset, settings: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Write the preset: [model] as it was, [settings] with the tuned ones, [evidence]. Raises OutputError."""
    model = {f.name: getattr(preset, f.name) for f in fields(ModelPreset) if f.name not in ("name", "settings")}
    model["source"] = f"tuned {found['date']} {found['source']}"
    if preset.path is not None:
        model["path"] = str(Path(preset.path).resolve())
    lines = ["# Written by `pnp-ovss tune`; use it with --model. The evidence changes nothing.", "[model]"]
    lines += [f"{key} = {_toml(value)}" for key, value in model.items() if value not in (None, "", 0)]
    lines += ["", "[settings]"]
    lines += [f"# T was tuned on: {found['threshold_scale']}."] if "threshold_scale" in found else []
    lines += [f"{key} = {_toml(_found_anywhere(key, value))}" for key, value in settings.items()]
    lines += ["", "[evidence]"] + [f"{key} = {_toml(value)}" for key, value in found.items()]
    write_atomically(path, "\n".join(lines) + "\n")


def _found_anywhere(key: str, value: Any) -> Any:
    """A bank's file by its whole path, as the model's: the preset is used from other folders, too."""
    return str(Path(value).resolve()) if key == "bank" and Path(value).suffix and Path(value).is_file() else value


def _row(trial: Trial) -> dict[str, Any]:
    outcome = trial.outcome
    return trial.point | {
        "reward": round(outcome.reward, 4),
        "margin": round(outcome.margin, 4),
        "area": round(outcome.area, 3),
        "empty": round(outcome.empty, 3),
    }


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        inner = "".join(f"\n  {_toml(item)}," for item in value)
        return f"[{inner}\n]" if inner else "[]"
    return json.dumps(str(value), ensure_ascii=False)
