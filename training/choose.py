"""Chooses layer, head and threshold for the preset without any mask: where GradCAM agrees best with its refined self.

python training/choose.py --weights FILE --pairs ../shared/data/pairs [--limit 100] [--size 448]

For photos of the split `tune`, the model's GradCAM for the tagged classes is refined along colour edges as in self-training
(pseudo.py, second round); each setting's mean intersection over union with those masks is printed, best first.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from cache import read_pixels, read_records
from concepts import VOC
from pseudo import GRID, GUIDE_PX, SECOND, flat_peaks, targets
from score import gradcam, load
from torch.nn import functional as F

from pnp_ovss.saliency import minmax
from pnp_ovss.vlms.pocket import PocketVLM

THRESHOLDS = (0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)


def reference(vlm: PocketVLM, pixels: dict[int, np.ndarray], guide: torch.Tensor, classes: list[int]) -> torch.Tensor:
    """Binary masks (K, GRID, GRID): the second round's targets, from the first layer's GradCAM at several sizes."""
    total = torch.zeros(len(classes), GRID, GRID)
    for array in pixels.values():
        maps = gradcam(vlm, vlm.encode(torch.from_numpy(array)), classes, [1], ["mean"])[1, "mean"]
        unit = flat_peaks(maps.flatten(1)).unflatten(1, maps.shape[1:])
        total += F.interpolate(unit[None], size=(GRID, GRID), mode="bilinear", align_corners=False)[0]
    return targets([total], guide[None], SECOND.background, [len(classes)])[0] > 0.5


def overlap(said: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Intersection over union (K,)."""
    return (said & masks).sum((1, 2)) / (said | masks).sum((1, 2)).clamp(min=1)


def main() -> None:
    """Print one line of JSON for every setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--size", type=int, default=448)
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    vlm, totals, count = load(options.weights), {}, 0
    records = [r for r in read_records(options.pairs) if r["split"] == "tune"]
    for record in records[:: max(1, len(records) // options.limit)]:
        classes = [c for c, name in enumerate(VOC) if name in record["tags"]]
        path = options.pairs / "images" / record["image"]
        pixels = {size: read_pixels(path, size) for size in (320, options.size)}
        masks = reference(vlm, pixels, torch.from_numpy(read_pixels(path, GUIDE_PX)), classes)
        image = vlm.encode(torch.from_numpy(pixels[options.size]))
        count += len(classes)
        for key, maps in gradcam(vlm, image, classes, options.layers, ["mean", *range(1, vlm.heads + 1)]).items():
            unit = minmax(F.interpolate(maps[None], size=(GRID, GRID), mode="bilinear", align_corners=False)[0])
            for threshold in THRESHOLDS:
                found = float(overlap(unit > threshold, masks).sum())
                totals[(*key, threshold)] = totals.get((*key, threshold), 0.0) + found
    for (layer, head, threshold), total in sorted(totals.items(), key=lambda item: -item[1])[:25]:
        print(json.dumps({"layer": layer, "head": head, "T": threshold, "agreement": round(total / count, 4)}))


if __name__ == "__main__":
    main()
