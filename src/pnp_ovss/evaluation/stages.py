"""The steps of a Segmenter one by one, for systems that answer a query in many variants and share what they can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from pnp_ovss.evaluation.systems import Query
from pnp_ovss.images import to_pixels
from pnp_ovss.postprocess import label_image
from pnp_ovss.refiners import refine_photo
from pnp_ovss.saliency import SaliencyPass
from pnp_ovss.segmenter import Segmenter
from pnp_ovss.vlms.base import ImageFeatures


@dataclass(frozen=True)
class Prepared:
    """A query after steps 0 and 1, shared by all variants.

    pixels: (3, S_h, S_w) in [0, 1]. whole: the encoded image. kept: indices of the competing classes. names: what is
    prompted for them, synonyms included; groups: each kept class's rows among them.
    """

    photo: np.ndarray
    pixels: Tensor
    whole: ImageFeatures
    kept: tuple[int, ...]
    names: list[str]
    groups: list[list[int]]

    @property
    def labels(self) -> tuple[int, ...]:
        """Labels of the competing classes."""
        return tuple(index + 1 for index in self.kept)


def oracle_or_listed(
    segmenter: Segmenter, query: Query, listed: Mapping[str, Sequence[str]]
) -> Mapping[str, Sequence[str]]:
    """Candidates for one query: its own classes for the policy `oracle`, the given lists for any other."""
    if segmenter.config.policy != "oracle":
        return listed
    return {query.id: [query.classes[label - 1][0] for label in query.present]}


def prepare(segmenter: Segmenter, query: Query, candidates: Mapping[str, Sequence[str]]) -> Prepared:
    """Encode the image and let the policy choose (steps 0 and 1)."""
    pixels = to_pixels(query.image, segmenter.input_size(*query.image.shape[:2]))
    whole = segmenter._encode(pixels)
    kept = segmenter._choose(query.classes, query.image, query.id, whole, candidates).kept
    names, groups = segmenter._names(query.classes, kept)
    return Prepared(query.image, pixels, whole, kept, names, groups)


def passes_of(segmenter: Segmenter, prepared: Prepared) -> list[SaliencyPass]:
    """All GradCAM passes (steps 2-8); none if no class competes."""
    return segmenter.saliency_passes(prepared.pixels, prepared.names, prepared.whole) if prepared.names else []


def finish(segmenter: Segmenter, prepared: Prepared, passes: Sequence[SaliencyPass]) -> np.ndarray:
    """Labels (H, W) from passes, with the settings of this segmenter (steps 9-14)."""
    size = prepared.photo.shape[:2]
    total = segmenter.summed_maps(passes, prepared.groups)
    scores, channels = segmenter.label_scores(total, prepared.kept, size)
    return label_image(refine_photo(segmenter.refiner, prepared.photo, scores), channels, size)
