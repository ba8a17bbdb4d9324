"""What a find is worth: how often a doubtful one is wrong, and whether the score that goes with a mask ranks masks by their IoU.

    python benchmarks/finds.py ../shared/data [--limit N]

The names that the built-in model keeps, policy itm at the preset, with its Dense CRF, on VOC train (where both cues of
`pnp_ovss.verdicts` and the score of `to_hf` were chosen) and COCO. "Wrong": an IoU of the class in the photo below 0.1, absent
classes among them. Rank correlations are Spearman's, over the finds that have pixels.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pnp_ovss import Segmentation, Segmenter
from pnp_ovss.datasets import VOID, open_dataset
from pnp_ovss.masks.labels import resize_nearest

SETS = {"VOC train": ("voc", "voc", {"split": "train"}), "COCO": ("coco-object", "coco", {})}
CUES = {"any": "", "match near the threshold": "match", "spread map": "its map"}


@dataclass(frozen=True)
class Find:
    """One name that was kept in one photo. iou: of its mask, 0 where it is absent. scores: {what ranks it: value}."""

    doubts: tuple[str, ...]
    absent: bool
    iou: float
    scores: dict[str, float]


def finds(segmenter: Segmenter, reader: str, root: Path, options: dict[str, str], limit: int | None) -> list[Find]:
    """All names kept in the photos of a data set."""
    dataset, found = open_dataset(reader, root, **options), []
    for sample in list(dataset)[:limit]:
        truth = sample.labels()
        result = segmenter(sample.image, dataset.names)
        scores = {entry["label"]: entry["score"] for entry in result.to_hf()}
        for label in result.kept:
            name = dataset.names[label - 1]
            painted, there = (labels == label for labels in (result.labels[truth != VOID], truth[truth != VOID]))
            iou = float((painted & there).sum() / max(1, (painted | there).sum()))
            ranks = {}
            if name in scores:
                ranks = {"to_hf": scores[name], "match alone": result.match_scores[name] or 0.0}
                ranks["its share of the refined scores"] = share_of_scores(result, label)
            found.append(Find(result.doubts(name), not there.any(), iou, ranks))
    return found


def share_of_scores(result: Segmentation, label: int) -> float:
    """The mean over a mask of its class's share of the refined scores: what another tool might call confidence."""
    small = resize_nearest(result.labels == label, result.scores.shape[1:])
    share = result.scores[result.channels.index(label)] / np.maximum(result.scores.sum(axis=0), 1e-12)
    return float(share[small].mean()) if small.any() else 0.0


def rank_correlation(one: list[float], other: list[float]) -> float:
    """Spearman's, ties in their order."""
    ranks = [np.argsort(np.argsort(values, kind="stable"), kind="stable") for values in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    segmenter = Segmenter.from_pretrained("pocket", policy="itm")
    ranked = []
    print("| data | finds | number | absent, % | wrong, % |\n|---|---|---|---|---|")
    for name, (reader, folder, more) in SETS.items():
        found = finds(segmenter, reader, options.data / folder, more, options.limit)
        rows = {"all": found, "without a doubt": [find for find in found if not find.doubts]}
        rows |= {cue: [f for f in found if any(d.startswith(start) for d in f.doubts)] for cue, start in CUES.items()}
        for cue, part in rows.items():
            absent, wrong = np.mean([(f.absent, f.iou < 0.1) for f in part] or [(0, 0)], axis=0) * 100
            print(f"| {name} | {cue} | {len(part)} | {absent:.0f} | {wrong:.0f} |", flush=True)
        painted = [find for find in found if find.scores]
        ious = [find.iou for find in painted]
        ranked += [
            (name, len(ious), kind, rank_correlation([f.scores[kind] for f in painted], ious))
            for kind in painted[0].scores
        ]
    print("\n| data | masks | score | rank correlation with IoU |\n|---|---|---|---|")
    for name, count, kind, value in ranked:
        print(f"| {name} | {count} | {kind} | {value:.2f} |")


if __name__ == "__main__":
    main()
