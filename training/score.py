"""Figures of a pocket model that need no val photo: presence on held-out photos, mIoU on the VOC train photos with masks.

python training/score.py --weights FILE --data ../shared/data/pairs --more ../shared/data/more --voc ../shared/data/voc

Presence: split `tune` (VOC's 20 names) and every tenth photo with complete tags (the names of its source): average precision
over all pairs of photo and name, and the best micro-F1 of a threshold, which `pnp-ovss tune --presence` fits. mIoU: policy
`oracle`, no refiner, for each T and affinity power; `pnp-ovss evaluate` gives the figures that count.
"""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cache import read_records
from concepts import VOC
from memory import keep_memory
from samples import UNTOLD

from pnp_ovss.datasets.voc import open_voc
from pnp_ovss.evaluation.metrics import compute, empty_confusion, update
from pnp_ovss.evaluation.presence import average_precision
from pnp_ovss.segmenter import Segmenter
from pnp_ovss.tuning.presence import best_f1, other_shares


def held_out(data: Path, more: Path | None) -> dict[str, list[tuple[Path, list[str], list[bool]]]]:
    """Photos by split or source: path, the names that its tags speak of, and which of them are there."""
    lists = {} if more is None else json.loads((more / "classes.json").read_text(encoding="utf-8"))
    found: dict[str, list[tuple[Path, list[str], list[bool]]]] = {}
    for record in read_records(data, more):
        if record["split"] not in ("tune", "held"):
            continue
        tune, source = record["split"] == "tune", record["source"]
        names = VOC if tune else [name for name in lists[source] if name not in UNTOLD[source]]
        found.setdefault("tune" if tune else source, []).append(
            (record["path"], names, [n in record["tags"] for n in names])
        )
    return found


def score_presence(
    segmenter: Segmenter, photos: list[tuple[Path, list[str], list[bool]]], thresholds: list[float]
) -> dict[str, Any]:
    """Average precision, best micro-F1, that of each threshold and, with a bank, of other shares; all pairs of photo and name."""
    everything = segmenter.replace(policy="itm", match_threshold=0.0)
    scores = np.array([everything.prepare(path, names).match_scores for path, names, _ in photos], np.float64).ravel()
    truth = np.array([there for *_, there in photos]).ravel()
    at = {t: 2 * ((scores >= t) & truth).sum() / ((scores >= t).sum() + truth.sum()) for t in thresholds}
    found = {"photos": len(photos), "ap": average_precision(scores, truth), "f1": best_f1(scores, truth)}
    shares = other_shares(segmenter, photos[0][1], scores.reshape(len(photos), -1))
    best = {f"f1 with {share:g} of the median": round(best_f1(moved.ravel(), truth), 4) for share, moved in shares}
    return found | {f"f1 at {t:g}": round(float(f1), 4) for t, f1 in at.items()} | best


def score_voc(segmenter: Segmenter, voc: Path, settings: list[dict]) -> list[float]:
    """mIoU in per cent on the VOC train photos for each of several settings of the last steps, oracle classes."""
    dataset = open_voc(voc, split="train")
    variants = [segmenter.replace(refine="none", **one) for one in settings]
    counts = [empty_confusion(len(VOC)) for _ in settings]
    for sample in dataset.samples:
        labels = sample.labels()
        keep = [VOC[i - 1] for i in np.unique(labels) if 1 <= i <= len(VOC)]
        trace = segmenter.look(segmenter.prepare(sample.image, VOC, keep=keep))
        counts = [update(c, labels, v.label(trace).labels) for c, v in zip(counts, variants, strict=True)]
    return [100 * compute(c, background=True).miou for c in counts]


def main() -> None:
    """Print one line of JSON for every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, help="default: the built-in ones")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--more", type=Path)
    parser.add_argument("--voc", type=Path)
    parser.add_argument("--bank", default="", help="default: the model alone")
    parser.add_argument("--matches", type=float, nargs="*", default=[], help="micro-F1 at these match thresholds")
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.2, 0.25, 0.3])
    parser.add_argument("--powers", type=float, nargs="+", default=[12, 16])
    options = parser.parse_args()
    keep_memory()
    torch.set_num_threads(1)
    segmenter = Segmenter.from_pretrained(options.weights or "pocket", bank=options.bank)
    if options.data:
        for name, photos in held_out(options.data, options.more).items():
            print(json.dumps({"presence": name, **score_presence(segmenter, photos, options.matches)}), flush=True)
    if options.voc:
        pairs = list(itertools.product(options.thresholds, options.powers))
        settings = [{"threshold": t, "affinity_power": p} for t, p in pairs]
        for one, miou in zip(settings, score_voc(segmenter, options.voc, settings), strict=True):
            print(json.dumps({**one, "miou": round(miou, 2)}))


if __name__ == "__main__":
    main()
