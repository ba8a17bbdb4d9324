"""Masks of SAM beside those of the Dense CRF, on the same look at every photo: mIoU, and which pairs of photo and class gain.

    python benchmarks/sam.py ../shared/data/voc [--set voc --split train] [--sam mobile-sam] [--policy oracle]
        [--points 1 4 --agreement 0.2 0.4] [--bfloat16] [--limit N]

Every combination of --points and --agreement is a row. Figures: mIoU with its 95 % interval, its paired gain over the CRF, the mean
IoU of all (photo, class that it shows), and how many of these lose or gain more than 0.05 against the CRF. --bfloat16 encodes in
bfloat16.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import measured
from outlines import iou
from torch import Tensor

from pnp_ovss import Segmenter
from pnp_ovss.datasets import VOID, open_dataset
from pnp_ovss.evaluation.intervals import ImageCounts, bootstrap_difference, bootstrap_miou
from pnp_ovss.evaluation.metrics import empty_confusion, update
from pnp_ovss.evaluation.tables import percent, signed
from pnp_ovss.refiners import sam
from pnp_ovss.refiners.promptable import Proposals, SamSegmenter
from pnp_ovss.refiners.promptable_weights import load_promptable
from pnp_ovss.words import counted

MATTERS = 0.05
"""A pair gains or loses where its IoU moves by more."""


class Remembered:
    """A promptable segmenter that encodes a photo once and answers a prompt once, for settings that share them."""

    def __init__(self, model: SamSegmenter, dtype: torch.dtype) -> None:
        self.model, self.dtype = model, dtype
        self.forget()

    def forget(self) -> None:
        """Another photo is next."""
        self.features: Tensor | None = None
        self.answers: dict[tuple[float, float], Proposals] = {}

    def encode(self, image: np.ndarray) -> Tensor:
        """As the model, once a photo."""
        if self.features is None:
            with torch.autocast("cpu", dtype=self.dtype, enabled=self.dtype != torch.float32):
                self.features = self.model.encode(image).float()
        return self.features

    def propose(self, features: Tensor, size: tuple[int, int], points: Sequence[tuple[float, float]]) -> Proposals:
        """As the model, each point asked once."""
        if asked := [point for point in dict.fromkeys(points) if point not in self.answers]:
            logits, predicted = self.model.propose(features, size, asked)
            for point, own, sure in zip(asked, logits, predicted, strict=True):
                self.answers[point] = Proposals(own, sure)
        answers = [self.answers[point] for point in points]
        return Proposals(torch.stack([a.logits for a in answers]), torch.stack([a.predicted for a in answers]))


def rows_of(segmenter: Segmenter, options: argparse.Namespace) -> dict[str, Segmenter]:
    """{row: segmenter} of all refiners that are compared, the CRF first."""
    settings = itertools.product(options.points, options.agreement)
    asked = [{"points": p, "agreement": a, "model": options.sam} for p, a in settings]
    rows = {name: segmenter.replace(refine=name) for name in ("densecrf", "none")}
    for one in asked:  # after the mask-free rows, each saying that it is trained on masks
        made = segmenter.replace(refine="sam", refine_options=one)
        rows[f"{made.refiner.name}: {counted(one['points'], 'point')}, {one['agreement']:g}"] = made
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--set", default="voc")
    parser.add_argument("--split")
    parser.add_argument("--sam", default="mobile-sam")
    parser.add_argument("--policy", default="oracle", choices=("oracle", "itm"))
    parser.add_argument("--points", type=int, nargs="+", default=[sam.POINTS])
    parser.add_argument("--agreement", type=float, nargs="+", default=[sam.AGREEMENT])
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)
    about = measured()
    dtype = torch.bfloat16 if options.bfloat16 else torch.float32
    model = Remembered(load_promptable(options.sam, "cpu"), dtype)
    stand_in: Any = sam
    stand_in._loaded = lambda *_: model
    dataset = open_dataset(options.set, options.root, **({"split": options.split} if options.split else {}))
    segmenters = rows_of(Segmenter.from_pretrained("pocket", device="cpu"), options)
    counts: dict[str, list[ImageCounts]] = {row: [] for row in segmenters}
    pairs: dict[str, list[float]] = {row: [] for row in segmenters}
    first = segmenters["densecrf"]
    for number, sample in enumerate(list(dataset)[: options.limit]):
        truth = sample.labels()
        present = [int(label) for label in np.unique(truth) if label not in (0, VOID)]
        keep = [dataset.names[label - 1] for label in present] if options.policy == "oracle" else None
        trace = first.look(first.prepare(sample.image, dataset.names, keep=keep))
        model.forget()
        for row, segmenter in segmenters.items():
            labels = segmenter.label(trace).labels
            counts[row].append(ImageCounts.of(update(empty_confusion(len(dataset.names)), truth, labels)))
            pairs[row] += [iou(truth, labels, label) for label in present]
        if number % 20 == 19:
            print(f"{number + 1} photos", flush=True)
    print(f"\n{options.set}, {len(counts['none'])} photos, {len(pairs['none'])} pairs, policy {options.policy};")
    print(f"{options.sam}, {dtype}; {about['date']}, {about['machine']}\n")
    print("| refiner | mIoU | gain over the CRF | mean IoU of pairs | lose | gain |\n|:--|--:|--:|--:|--:|--:|")
    labels = list(range(len(dataset.names) + 1))
    base = np.array(pairs["densecrf"])
    for row in segmenters:
        miou, gain = bootstrap_miou(counts[row], labels), bootstrap_difference(counts[row], counts["densecrf"], labels)
        moved = np.array(pairs[row]) - base
        shares = f"{np.mean(moved < -MATTERS):.0%} | {np.mean(moved > MATTERS):.0%}"
        mean = f"{100 * np.mean(pairs[row]):.1f}"
        print(f"| {row} | {percent(miou.value, (miou.low, miou.high))} | {signed(gain)} | {mean} | {shares} |")


if __name__ == "__main__":
    main()
