"""Figures of a pocket model on Pascal VOC: presence F1, mIoU by class policy, layer, head and threshold.

python training/score.py --weights FILE --voc ../shared/data/voc --pairs ../shared/data/pairs [--limit 80] [--size 448]

The presence threshold is fixed on the split `tune` of pairs.jsonl (image-level tags). No Dense CRF, no DropOut: for those
use `pnp-ovss evaluate`. Choices (layer, head, T, size) made with this script belong on `--split train`, not on val.
"""

import argparse
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from cache import read_pixels, read_records
from concepts import VOC

from pnp_ovss.config import SegmenterConfig
from pnp_ovss.datasets.voc import open_voc
from pnp_ovss.images import load_image
from pnp_ovss.postprocess import add_background, enlarge
from pnp_ovss.prompt import build_prompt
from pnp_ovss.saliency import class_maps, minmax, token_saliency
from pnp_ovss.vlms.encoders.pocket_model import load_pocket
from pnp_ovss.vlms.encoders.wordpiece import WordPieceTokenizer
from pnp_ovss.vlms.pocket import PocketVLM

TEMPLATE = "A picture of {classes}"


def load(weights: Path) -> PocketVLM:
    """The adapter around a weights file whose vocabulary lies beside it or in the package."""
    model, tokenizer = load_pocket(weights)
    return PocketVLM(model, WordPieceTokenizer(tokenizer))


@dataclass
class Evidence:
    """What one photo gave: match probabilities (20,), maps by (classes, layer, head), size and ground truth."""

    probs: np.ndarray
    maps: dict[tuple, torch.Tensor]
    present: list[int]
    labels: np.ndarray | None


def presence(vlm: PocketVLM, image: object, names: list[str]) -> np.ndarray:
    """Match probability of "A picture of {name}" for each name."""
    prompts = [build_prompt([name], TEMPLATE, vlm.tokenize) for name in names]
    return vlm.match(image, prompts).softmax(-1)[:, 1].numpy()


def gradcam(
    vlm: PocketVLM, image: object, classes: list[int], layers: list[int], heads: list
) -> dict[tuple, torch.Tensor]:
    """Maps (K, P, P) of one prompt with all `classes`, for every layer and head."""
    prompt = build_prompt([VOC[c] for c in classes], TEMPLATE, vlm.tokenize)
    found = {}
    for layer, attention in zip(
        layers, vlm.attend(image, prompt, layers=layers, head="mean", gradient="match_logit"), strict=True
    ):
        for head in heads:
            picked = slice(None) if head == "mean" else slice(head - 1, head)
            tokens = token_saliency(attention.probs[picked], attention.grad[picked])
            found[layer, head] = class_maps(tokens, prompt.spans).unflatten(1, attention.grid)
    return found


def tune_probs(vlm: PocketVLM, pairs: Path, size_px: int, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Match probabilities and truth (images, 20) on the split `tune`."""
    records = [r for r in read_records(pairs) if r["split"] == "tune"][:limit]
    probs = [
        presence(vlm, vlm.encode(torch.from_numpy(read_pixels(pairs / "images" / r["image"], size_px))), VOC)
        for r in records
    ]
    return np.stack(probs), np.array([[name in r["tags"] for name in VOC] for r in records])


def f1(probs: np.ndarray, truth: np.ndarray, threshold: float) -> float:
    """Micro F1 over images and classes."""
    said = probs >= threshold
    return float(2 * (said & truth).sum() / max(1, said.sum() + truth.sum()))


class Confusion:
    """A confusion matrix of 21 classes; void is ignored."""

    def __init__(self) -> None:
        self.matrix = np.zeros((21, 21), np.int64)

    def add(self, labels: np.ndarray, truth: np.ndarray) -> None:
        """Count one image."""
        known = truth < 21
        self.matrix += np.bincount(21 * truth[known] + labels[known], minlength=441).reshape(21, 21)

    def miou(self) -> float:
        """Mean IoU in per cent over classes that occur."""
        hit = np.diag(self.matrix)
        union = self.matrix.sum(0) + self.matrix.sum(1) - hit
        return 100 * float((hit[union > 0] / union[union > 0]).mean())


def label(maps: torch.Tensor, classes: list[int], size: tuple[int, int], threshold: float, blur: float) -> np.ndarray:
    """Threshold, resize, blur, background, argmax."""
    if not classes:
        return np.zeros(size, np.int64)
    config = SegmenterConfig(threshold=threshold, blur=blur)
    masks = (minmax(maps) > threshold).float()
    scores = add_background(enlarge(masks, size, config), masks, config)
    return np.array([0, *(c + 1 for c in classes)])[scores.argmax(0).numpy()]


def main() -> None:
    """Print one line of JSON for every setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--voc", type=Path, required=True)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--limit", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=448)
    parser.add_argument("--layers", type=int, nargs="+", default=[1])
    parser.add_argument("--heads", nargs="+", default=["mean"])
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.15, 0.25, 0.35])
    parser.add_argument("--blurs", type=float, nargs="+", default=[0.02, 0.05])
    parser.add_argument("--tune-size", type=int, help="size for the threshold; default: --size")
    options = parser.parse_args()
    vlm, heads = load(options.weights), [h if h == "mean" else int(h) for h in options.heads]
    probs, truth = tune_probs(vlm, options.pairs, options.tune_size or options.size, 300)
    best = max(np.arange(0.05, 0.99, 0.01), key=lambda t: f1(probs, truth, t))
    samples = open_voc(options.voc, split=options.split).samples
    samples = samples[:: max(1, len(samples) // options.limit)]
    settings = list(itertools.product(options.layers, heads, options.thresholds, options.blurs))
    totals = {(policy, *setting): Confusion() for policy in ("oracle", "itm") for setting in settings}
    found, there = [], []
    for sample in samples:
        photo, labels = load_image(sample.image), sample.labels()
        image = vlm.encode(torch.from_numpy(read_pixels(sample.image, options.size)))
        found.append(presence(vlm, image, VOC))
        there.append(np.isin(np.arange(1, 21), labels))
        lists = {"oracle": list(np.flatnonzero(there[-1])), "itm": list(np.flatnonzero(found[-1] >= best))}
        for policy, classes in lists.items():
            maps = gradcam(vlm, image, classes, options.layers, heads) if classes else {}
            for layer, head, threshold, blur in settings:
                result = label(maps.get((layer, head)), classes, photo.shape[:2], threshold, blur)
                totals[policy, layer, head, threshold, blur].add(result, labels)
    found, there = np.stack(found), np.stack(there)
    own = max(np.arange(0.05, 0.99, 0.01), key=lambda t: f1(found, there, t))
    line = {"images": len(samples), "size": options.size, "threshold": round(float(best), 2)}
    line |= {"f1_tune": f1(probs, truth, best), "f1": f1(found, there, best)}
    print(json.dumps({**line, "f1_best_possible": f1(found, there, own), "at": round(float(own), 2)}))
    for key, confusion in sorted(totals.items(), key=lambda item: -item[1].miou()):
        named = dict(zip(("policy", "layer", "head", "T", "blur"), key, strict=True))
        print(json.dumps({**named, "miou": round(confusion.miou(), 2)}))


if __name__ == "__main__":
    main()
