"""The images that a system did best and worst on, drawn for the report."""

import math
from collections.abc import Callable, Sequence

from pnp_ovss.evaluation.metrics import compute
from pnp_ovss.evaluation.pages import Example, draw_example
from pnp_ovss.evaluation.run import Results
from pnp_ovss.evaluation.systems import Query, System, plain_classes


def best_and_worst(results: Results, make_system: Callable[[], System], count: int) -> list[Example]:
    """The `count` best and then the `count` worst images, segmented once more; ties by id."""
    scores = image_miou(results)
    ranked = sorted(scores, key=lambda id: (-scores[id], id))
    chosen = list(dict.fromkeys([*ranked[:count], *ranked[len(ranked) - count :][::-1]])) if count else []
    return _draw(results, chosen, scores, make_system) if chosen else []


def _draw(
    results: Results, ids: Sequence[str], scores: dict[str, float], make_system: Callable[[], System]
) -> list[Example]:
    from pnp_ovss.images import read_image

    system = make_system()
    present = {record.id: record.present for record in results.finished}
    samples = {sample.id: sample for sample in results.dataset}
    examples = []
    for id in ids:
        image, truth = read_image(samples[id].image), samples[id].labels()
        answer = next(iter(system.answer(Query(id, image, plain_classes(results.dataset), present[id])).values()))
        examples.append(draw_example(id, scores[id], image, (truth, answer.labels), results.dataset.names))
    return examples


def image_miou(results: Results, variant: str = "") -> dict[str, float]:
    """Mean IoU of each finished image by itself, over the classes that its ground truth has."""
    background = (0,) if results.dataset.has_background else ()
    found = {}
    for record in results.finished:
        present = (*background, *record.present)
        confusion = record.counts[variant].confusion()
        found[record.id] = compute(confusion, background=bool(background), classes=present).miou
    return {id: value for id, value in found.items() if not math.isnan(value)}
