"""Look-alikes: where two kept classes have nearly the same map, does the match on the crop know better which one is there?

    python benchmarks/recheck.py ../shared/data/voc [--set voc --split train] [--alike 0.6 0.7 0.8 0.9] [--photo-only] [--limit N]

Policy itm at the preset, no refiner. Two classes are look-alikes where the correlation of their maps before completion exceeds
--alike (several are tried in one run). The crop is the box around what exceeds half of the peak of either map. Of the two the
one with the lower match on the crop leaves; "the photo decides" drops the one with the lower match on the whole photo instead.
The latter is the setting look_alikes; the crop is not built in, because it is no better judge.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from machine import measured
from numpy.typing import NDArray

from pnp_ovss import Segmenter
from pnp_ovss.competition import correlations
from pnp_ovss.datasets import VOID, open_dataset
from pnp_ovss.evaluation.intervals import ImageCounts, bootstrap_difference, bootstrap_miou
from pnp_ovss.evaluation.metrics import empty_confusion, update
from pnp_ovss.evaluation.presence import Presence, presence
from pnp_ovss.evaluation.tables import percent, signed
from pnp_ovss.gradcam import encode
from pnp_ovss.images import to_pixels
from pnp_ovss.segmentation import Segmentation
from pnp_ovss.trace import Trace

AS_IT_IS = "as it is"


@dataclass(frozen=True)
class Pair:
    """Two names whose maps are alike, how much, and which of them the match on the crop rejects."""

    names: tuple[str, str]
    alike: float
    by_crop: str


@dataclass(frozen=True)
class Both:
    """Pairs of found names that are both there: how many, and the highest correlation of two maps."""

    count: int = 0
    most: float = 0.0

    def __add__(self, other: Both) -> Both:
        return Both(self.count + other.count, max(self.most, other.most))


def crop_of(result: Segmentation, rows: Sequence[int]) -> NDArray[np.uint8]:
    """The part of the photo where either map exceeds half of its peak."""
    maps = result.maps[list(rows)]
    strong = (maps >= maps.max(axis=(1, 2), keepdims=True) / 2).any(axis=0)
    ys, xs = np.nonzero(strong)
    scale_y, scale_x = (size / side for size, side in zip(result.image.shape[:2], strong.shape, strict=True))
    box = [
        int(ys.min() * scale_y),
        int((ys.max() + 1) * scale_y),
        int(xs.min() * scale_x),
        int((xs.max() + 1) * scale_x),
    ]
    return result.image[box[0] : box[1], box[2] : box[3]]


def pairs_of(segmenter: Segmenter, trace: Trace, least: float) -> Iterator[Pair]:
    """The look-alikes of one photo."""
    result = segmenter.label(trace)
    kept = [result.class_names[label - 1] for label in result.kept]
    alike = correlations(segmenter.replace(completion="none").sum_maps(trace)).tolist()
    for one, other in combinations(range(len(kept)), 2):
        if alike[one][other] > least:
            crop = crop_of(result, (one, other))
            pixels = to_pixels(crop, segmenter.input_size(*crop.shape[:2]))
            names = (kept[one], kept[other])
            on_crop = segmenter.presence(encode(segmenter.vlm, pixels, segmenter.config), names)
            yield Pair(names, alike[one][other], names[int(np.argmin(on_crop))])


def both_there(segmenter: Segmenter, trace: Trace, there: set[int]) -> Both:
    """Of one photo, where `there` are the labels of the classes in it."""
    rows = [row for row, index in enumerate(trace.prepared.kept) if index + 1 in there]
    alike = correlations(segmenter.replace(completion="none").sum_maps(trace))
    values = [float(alike[one, other]) for one, other in combinations(rows, 2)]
    return Both(len(values), max(values, default=0.0))


def answers_of(
    segmenter: Segmenter, trace: Trace, pairs: Sequence[Pair], options: argparse.Namespace
) -> dict[str, Segmentation]:
    """{way: its answer}."""
    answers = {AS_IT_IS: segmenter.label(trace)}
    kept = [answers[AS_IT_IS].class_names[label - 1] for label in answers[AS_IT_IS].kept]
    for least in options.alike:
        answers[f"above {least:g} the photo decides"] = segmenter.replace(look_alikes=least).label(trace)
        gone = {pair.by_crop for pair in pairs if pair.alike > least}
        if not options.photo_only:
            left = trace.keep([name for name in kept if name not in gone])
            answers[f"above {least:g} the crop decides"] = segmenter.label(left)
    return answers


def main() -> None:
    """Print the table and what the pairs were."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--set", default="voc")
    parser.add_argument("--split", default="train")
    parser.add_argument("--alike", type=float, nargs="+", default=[0.6, 0.7, 0.8, 0.9])
    parser.add_argument("--photo-only", action="store_true", help="leave the crop out, which takes most of the time")
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    about = measured()
    dataset = open_dataset(options.set, options.root, **({"split": options.split} if options.split else {}))
    segmenter = Segmenter.from_pretrained("pocket", refine="none", look_alikes=1.0, device="cpu")
    counts: dict[str, list[ImageCounts]] = {}
    found: dict[str, Presence] = {}
    both = Both()
    print("| photo | two names | there | alike | the crop rejects |\n|---|---|---|---|---|")
    for sample in list(dataset)[: options.limit]:
        truth = sample.labels()
        trace = segmenter.look(segmenter.prepare(sample.image, dataset.names))
        there = {label for label in np.unique(truth).tolist() if 0 < label < VOID}
        both += both_there(segmenter, trace, there)
        pairs = [] if options.photo_only else list(pairs_of(segmenter, trace, min(options.alike)))
        for pair in pairs:
            seen = [name for name in pair.names if dataset.names.index(name) + 1 in there]
            cells = (sample.id, ", ".join(pair.names), ", ".join(seen), f"{pair.alike:.2f}")
            print(f"| {' | '.join((*cells, pair.by_crop))} |", flush=True)
        for way, answer in answers_of(segmenter, trace, pairs, options).items():
            image = ImageCounts.of(update(empty_confusion(len(dataset.names)), truth, answer.labels))
            counts.setdefault(way, []).append(image)
            found[way] = found.get(way, Presence()) + presence(there, answer.kept)
    print(f"\n{options.set} {options.split}, {len(counts[AS_IT_IS])} photos; {about['date']}, {about['machine']}")
    print(f"of {both.count} pairs of found names that are both there the highest correlation is {both.most:.2f}")
    labels = list(range(len(dataset.names) + 1))
    print("\n| | mIoU | against as it is | presence micro-F1 |\n|---|---|---|---|")
    for way in counts:
        miou, gain = bootstrap_miou(counts[way], labels), bootstrap_difference(counts[way], counts[AS_IT_IS], labels)
        print(f"| {way} | {percent(miou.value, (miou.low, miou.high))} | {signed(gain)} | {found[way].micro_f1:.3f} |")


if __name__ == "__main__":
    main()
