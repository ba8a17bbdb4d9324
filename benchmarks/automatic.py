"""Names that nobody lists: how many of those that `auto` finds are in the photo, and how many that are there it finds.

    python benchmarks/automatic.py ../shared/data [--limit N]

The built-in model on the photos of VOC train and of nyuv2; what is there is what their masks say. Two vocabularies each: the data
set's own names, and the built-in tags, of which those are judged that the data set has by the same name (the masks are silent on
all others). Rules: the preset's threshold, stricter ones, and the most names a photo.
"""

import argparse
from pathlib import Path

import numpy as np
from machine import measured
from numpy.typing import NDArray

from pnp_ovss import Segmenter
from pnp_ovss.automatic import MOST, asked_classes
from pnp_ovss.datasets import open_dataset
from pnp_ovss.policies import KeepRule
from pnp_ovss.tuning.tags import dataset_tags

SETS = {"VOC train": ("voc", "voc", {"split": "train"}), "nyuv2": ("folder", "nyuv2", {})}
THRESHOLDS = (0.0, 0.9, 0.97)
"""Beside the preset's, which is written 0."""
COUNTS = (5, MOST, 20)


def rates(
    scores: NDArray[np.float64], there: NDArray[np.bool_], judged: NDArray[np.bool_], rule: KeepRule
) -> list[float]:
    """Names a photo, precision, recall and F1 of the judged names."""
    kept = np.zeros(scores.shape, bool)
    for row, photo in zip(kept, scores, strict=True):
        row[list(rule(photo.tolist()))] = True
    right, found = int((kept & there)[:, judged].sum()), int(kept[:, judged].sum())
    asked = int(there[:, judged].sum())
    return [kept.sum() / len(kept), right / max(1, found), right / asked, 2 * right / (found + asked)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    about, segmenter = measured(), Segmenter.from_pretrained("pocket", device="cpu")
    open_to_all = segmenter.replace(policy="itm", match_threshold=0.0)
    print(
        f"{about['date']}, {about['machine']}\n\n| data | vocabulary | rule | names a photo | precision | recall | F1 |"
    )
    print("|---|---|---|---|---|---|---|")
    for title, (reader, folder, more) in SETS.items():
        dataset = open_dataset(reader, options.data / folder, **more)
        photos = dataset_tags(dataset)[: options.limit]
        names = tuple(dict.fromkeys([*asked_classes("auto").names, *dataset.names]))
        scores = np.array([open_to_all.prepare(photo.path, names).match_scores for photo in photos])
        there = np.array([[name in photo.class_names for name in names] for photo in photos])
        own = np.array([name in dataset.names for name in names])
        tags = np.array([name in asked_classes("auto").names for name in names])
        for vocabulary, asked in (("its own names", own), (f"tags, {int((own & tags).sum())} judged", tags)):
            for threshold in THRESHOLDS:
                for count in COUNTS:
                    rule = KeepRule(threshold or segmenter.config.match_threshold, top_k=count)
                    found = rates(scores[:, asked], there[:, asked], own[asked], rule)
                    cells = " | ".join([f"{found[0]:.1f}", *(f"{rate:.2f}" for rate in found[1:])])
                    print(f"| {title}, {len(photos)} photos | {vocabulary} | {rule} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
