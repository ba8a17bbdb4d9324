"""The images that a system did best and worst on, drawn for the report."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from pnp_ovss.datasets.base import VOID
from pnp_ovss.evaluation.metrics import compute
from pnp_ovss.evaluation.run import Results
from pnp_ovss.evaluation.systems import Query, System, plain_classes
from pnp_ovss.images import read_image
from pnp_ovss.pictures.overlay import draw_overlay
from pnp_ovss.pictures.sheet import beside

_WIDTH_PX = 480


@dataclass(frozen=True)
class Example:
    """One image with its ground truth and our labels, drawn side by side."""

    id: str
    score: float
    """Mean IoU of the image by itself, in [0, 1]."""
    picture: Image.Image

    @property
    def caption(self) -> str:
        """Under the picture."""
        return f"{self.id}: mIoU {100 * self.score:.1f}; left the ground truth, right the answer"


def best_and_worst(results: Results, make_system: Callable[[], System], count: int) -> list[Example]:
    """The `count` best and then the `count` worst images, segmented once more; ties by id. Void is shown as no class."""
    dataset, scores = results.dataset, image_miou(results)
    ranked = sorted(scores, key=lambda id: (-scores[id], id))
    chosen = list(dict.fromkeys([*ranked[:count], *ranked[len(ranked) - count :][::-1]])) if count else []
    if not chosen:
        return []
    system, examples = make_system(), []
    present = {record.id: record.present for record in results.finished}
    samples = {sample.id: sample for sample in dataset}
    for id in chosen:
        image, truth = read_image(samples[id].image), samples[id].labels()
        answer = next(iter(system.answer(Query(id, image, plain_classes(dataset), present[id])).values()))
        parts = [draw_overlay(image, labels, dataset.names, void=VOID) for labels in (truth, answer.labels)]
        small = [part.resize((_WIDTH_PX, round(part.height * _WIDTH_PX / part.width))) for part in parts]
        examples.append(Example(id, scores[id], beside(small, gap_px=8)))
    return examples


def image_miou(results: Results) -> dict[str, float]:
    """Mean IoU of each finished image by itself, over the classes that its ground truth has."""
    background = (0,) if results.dataset.has_background else ()
    found = {}
    for record in results.finished:
        present = (*background, *record.present)
        confusion = record.counts[""].confusion()
        found[record.id] = compute(confusion, background=bool(background), classes=present).miou
    return {id: value for id, value in found.items() if not math.isnan(value)}
