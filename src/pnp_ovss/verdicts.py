"""What there is to say of an answer: why a class has no pixels, what is doubtful about those that have some, how to go on. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pnp_ovss.competition import logit
from pnp_ovss.config import SegmenterConfig

NEAR = 1.0
"""A match less than this above the threshold, in logits, is near it."""
STRONG, WIDE = 0.25, 0.5
"""A map that is above this share of its peak, after its lowest is taken off, on more than this share of the photo is spread."""
EQUAL = 0.5
"""Classes with one score on more than this share of the photo are told apart by their match alone."""


def why_not(score: float | None, config: SegmenterConfig) -> str:
    """Why a class did not compete."""
    if score is None:
        return "not among the names that may win"
    if score < config.match_threshold:
        return f"{_below(score, config.match_threshold)} < {config.match_threshold:g}"
    return f"{score:.2f}, behind others (look_alikes, match_relative, match_top_k)"


def _below(score: float, threshold: float) -> str:
    """The score, rounded to so many digits that it stays below the threshold: 0.88 would not be, of 0.8796."""
    return next((shown for digits in range(2, 9) if float(shown := f"{score:.{digits}f}") < threshold), repr(score))


def doubts(score: float | None, config: SegmenterConfig, heat: NDArray[np.floating] | None) -> tuple[str, ...]:
    """What speaks against a class that was found. score: its match; heat: its map (P_h, P_w), if there is one.

    Both cues were chosen on VOC train: of the names kept there by the built-in model's default 16 % are not in the photo, of those
    near the threshold 39 %, of those with a spread map 30 %; on COCO 53, 66 and 61 % (docs/evaluation.md).
    """
    found, threshold = [], config.match_threshold if config.policy == "itm" else 0.0
    if threshold and score is not None and logit(score) - logit(threshold) < NEAR:
        found.append(f"match {score:.2f} is near {threshold:g}")
    if heat is not None and (wide := _spread(heat)) > WIDE:
        found.append(f"its map is strong on {wide:.0%} of the photo")
    return tuple(found)


def evidence(mask: NDArray[np.bool_], heat: NDArray[np.floating], score: float | None) -> float:
    """How much a mask is worth, in [0, 1]: the class's match (1 where there is none) times the overlap of mask and map.

    mask: (H, W). heat: (P_h, P_w), the class's map, from 0 to 1 after its lowest is taken off and it is divided by its peak. The
    overlap is Σ min / Σ max of the map and the share of each patch that the mask covers. Of what was tried on VOC train it
    ranks masks by their IoU best (docs/evaluation.md); it is no probability.
    """
    unit = (heat - heat.min()) / max(float(heat.max() - heat.min()), 1e-12)
    size = (heat.shape[1], heat.shape[0])
    covered = np.asarray(Image.fromarray(mask.astype(np.float32)).resize(size, Image.Resampling.BOX))
    overlap = np.minimum(unit, covered).sum() / max(float(np.maximum(unit, covered).sum()), 1e-12)
    return float(overlap) * (1.0 if score is None else score)


def _spread(heat: NDArray[np.floating]) -> float:
    low, high = float(heat.min()), float(heat.max())
    return float((heat >= low + STRONG * (high - low)).mean())


def advice(matches: Mapping[str, float | None], config: SegmenterConfig) -> str:
    """How to go on where no class was found; "" where the policy asked the model nothing. matches: {name: score or None}."""
    known = {name: score for name, score in matches.items() if score is not None}
    if not known:
        return ""
    best = max(known, key=lambda name: known[name])
    lower = math.floor(100 * known[best]) / 100
    return (
        f"none of the names was found: the best is '{best}' with {known[best]:.2f}, below {config.match_threshold:g}; "
        f"match_threshold = {lower:g} lets it in, policy = 'all' divides the photo among all names"
    )


def equal_scores(scores: NDArray[np.floating], channels: Sequence[int], names: Sequence[str]) -> str:
    """What to say of classes whose scores (C, H, W) are one on most of the photo, so that the match decided; else "".

    channels: (C,) the label of each, 0 = background.
    """
    rows = [row for row, label in enumerate(channels) if label]
    if len(rows) < 2:
        return ""
    highest = np.maximum.reduce([scores[row] for row in rows])
    tied = [row for row in rows if (scores[row] == highest).mean() > EQUAL]
    if len(tied) < 2:
        return ""
    listed = " and ".join(f"'{names[channels[row] - 1]}'" for row in tied)
    return f"the maps of {listed} are the same nearly everywhere: the better match has the pixels, else the first name"
