"""How crisp are the refiners' masks? Boundary F-score and IoU of each on one look at every photo, classes given.

    python benchmarks/outlines.py DATASET FOLDER [--model pocket] [--refine none densecrf pamr sam] [--limit 40]

DATASET is a name of `list_datasets`; its ground truth must show outlines (COCO's polygons, CamVid; not Pascal VOC, whose
void ring hides them). Prints the mean over the (photo, class) pairs and, of each refiner less the first, the mean gain with
the 95 % interval of a bootstrap over photos.
"""

import argparse
from datetime import date
from pathlib import Path

import numpy as np
import torch
from machine import machine

from pnp_ovss import Segmenter
from pnp_ovss.datasets import open_dataset
from pnp_ovss.datasets.base import VOID
from pnp_ovss.evaluation.outlines import boundary_scores


def photo_scores(segmenters: dict[str, Segmenter], sample, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """{refiner: (pairs, 2) boundary F-score and IoU of the classes that the photo shows}."""
    truth = sample.labels()
    present = [int(label) for label in np.unique(truth) if label not in (0, VOID)]
    first = next(iter(segmenters.values()))
    trace = first.look(first.prepare(sample.image, names, keep=[names[label - 1] for label in present]))
    scores = {}
    for refiner, segmenter in segmenters.items():
        labels = segmenter.label(trace).labels
        boundary = boundary_scores(truth, labels)
        scores[refiner] = np.array([(f, iou(truth, labels, label)) for label, f in boundary.items()]).reshape(-1, 2)
    return scores


def iou(truth: np.ndarray, labels: np.ndarray, label: int) -> float:
    """IoU of one class on the known pixels of one photo, which shows it."""
    true, found = truth == label, (labels == label) & (truth != VOID)
    return float((true & found).sum() / (true | found).sum())


def interval(photos: list[np.ndarray], resamples: int = 2000) -> tuple[float, float]:
    """95 % interval of the mean over all pairs, photos drawn with replacement. photos: values of each."""
    sums, counts = np.array([p.sum() for p in photos]), np.array([len(p) for p in photos])
    drawn = np.random.default_rng(0).integers(0, len(photos), (resamples, len(photos)))
    low, high = np.quantile(sums[drawn].sum(1) / counts[drawn].sum(1), (0.025, 0.975))
    return float(low), float(high)


def main() -> None:
    """Segment, score and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--refine", nargs="+", default=["none", "densecrf", "pamr"])
    parser.add_argument("--sam", default="mobile-sam", help="which model the refiner sam has")
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)
    dataset = open_dataset(options.dataset, options.folder).subset(options.limit)
    plain = Segmenter.from_pretrained(options.model)
    of = {"sam": {"model": options.sam}}
    segmenters = {name: plain.replace(refine=name, refine_options=of.get(name, {})) for name in options.refine}
    photos = [photo_scores(segmenters, sample, dataset.names) for sample in dataset]
    pairs = sum(len(photo[options.refine[0]]) for photo in photos)
    print(
        f"{date.today()}, {machine()}, {options.model}, {options.dataset}, {len(photos)} photos, {pairs} pairs, classes given"
    )
    print("| refiner | boundary F | gain, 95 % | IoU |\n|:--|--:|--:|--:|")
    base = options.refine[0]
    for name in options.refine:
        boundary, area = np.concatenate([photo[name] for photo in photos]).mean(0) * 100
        gains = [(photo[name] - photo[base])[:, 0] * 100 for photo in photos if len(photo[name])]
        low, high = interval(gains)
        gain = f"{np.concatenate(gains).mean():+.1f} [{low:+.1f}, {high:+.1f}]" if name != base else ""
        print(f"| {segmenters[name].refiner.name} | {boundary:.1f} | {gain} | {area:.1f} |")


if __name__ == "__main__":
    main()
