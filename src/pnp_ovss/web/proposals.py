"""What the refiner `sam` did with a photo, as a step of the page: points, proposals, and which were taken."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from pnp_ovss.refiners import Evidence
from pnp_ovss.refiners.sam import SAM, Asked, Look
from pnp_ovss.segmentation import Segmentation
from pnp_ovss.segmenter import Segmenter
from pnp_ovss.trace import Trace
from pnp_ovss.web.step import Step, shrink_labels

PROPOSALS = "proposals"
"""The step's name."""


def label_and_look(segmenter: Segmenter, trace: Trace) -> tuple[Segmentation, list[Step]]:
    """The labels of `Segmenter.label`, and the step that shows how they came about where the refiner is `sam` and was asked."""
    if not isinstance(segmenter.refiner, SAM):
        return segmenter.label(trace), []
    watched, watching = _Watched(segmenter.refiner), segmenter.replace()
    watching.refiner = watched
    result = watching.label(trace)
    return result, [] if watched.seen is None else [_step(watched.sam, watched.seen, result)]


class _Watched:
    """The refiner, which remembers its last look."""

    def __init__(self, sam: SAM) -> None:
        self.sam, self.name = sam, sam.name
        self.seen: Look | None = None

    def refine(self, image: np.ndarray, scores: Tensor, evidence: Evidence | None = None) -> Tensor:
        """As `SAM.refine`."""
        self.seen = self.sam.look(image, scores, evidence)
        return self.seen.scores()


def _step(sam: SAM, look: Look, result: Segmentation) -> Step:
    asked = [each for each in look.asked if each.name in result.class_names]  # the others are rivals
    labels = np.zeros(tuple(look.rough.shape[1:]), np.uint16)
    for each in sorted((each for each in asked if each.chosen.agreement), key=lambda each: each.chosen.agreement):
        labels[each.chosen.mask.cpu().numpy()] = result.class_names.index(each.name) + 1
    return Step(
        PROPOSALS,
        f"Points at the peaks of each class's map and in the middle of what the Dense CRF gives it, and what {sam.name} proposes "
        "there: the sure proposal that agrees best with the Dense CRF's mask of the class.",
        shrink_labels(labels),
        points=tuple((result.class_names.index(each.name) + 1, x, y) for each in asked for x, y in each.points),
        notes=tuple(_note(each, sam.agreement) for each in asked) or ("nothing was asked: no map has a peak",),
    )


def _note(asked: Asked, least: float) -> str:
    """What became of a class, in words."""
    if not asked.points:
        return f"{asked.name}: its map has no peak; the CRF's mask is kept"
    agrees = f"{asked.name}: the proposal agrees {asked.chosen.agreement:.2f} with the CRF's mask"
    return f"{agrees} and is taken" if asked.taken else f"{agrees}, less than {least:g}; the CRF's mask is kept"
