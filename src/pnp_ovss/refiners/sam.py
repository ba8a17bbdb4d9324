"""Masks from a promptable segmenter where it agrees with the class maps, from the dense CRF where it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pnp_ovss.errors import ConfigError
from pnp_ovss.images import limited_size
from pnp_ovss.provenance import called
from pnp_ovss.refiners import TRAINED_ON_MASKS, Evidence
from pnp_ovss.refiners.densecrf import DenseCRF
from pnp_ovss.refiners.inputs import check_inputs
from pnp_ovss.refiners.promptable import SamSegmenter
from pnp_ovss.refiners.promptable_weights import load_promptable
from pnp_ovss.refiners.proposals import AGREEMENT, POINTS, Chosen, choose, drawn, middles, peaks, support

GRID = 128
"""Cells along the photo's longer side, on which the middle of a mask is found."""
REST = 1e-3
"""What a class keeps of its CRF score outside its mask where no channel is background: someone must win there."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What a class was asked and what became of it.

    channel: of the scores. points: (x, y) in [0, 1]. chosen: the proposal, or the union of some, that agrees best with the
    CRF's mask. taken: whether it stands in that one's place.
    """

    name: str
    channel: int
    points: tuple[tuple[float, float], ...]
    chosen: Chosen
    taken: bool


@dataclass(frozen=True, eq=False)
class Look:
    """What became of a photo. rough: (C, H, W) float32 of the CRF. asked: the classes; none where no map has a peak."""

    rough: Tensor
    asked: tuple[Asked, ...] = ()

    def scores(self) -> Tensor:
        """(C, H, W) float32: the CRF's with the masks that were taken."""
        return merged(self.rough, {each.channel: each for each in self.asked})


@dataclass(frozen=True)
class SAM:
    """A promptable segmenter of the SAM family, trained on class-agnostic masks: its results are not mask-free.

    model: "mobile-sam", another name of `promptable.toml`, a hub id or a folder. device: torch's name of one, or "auto": where
    the scores are. points: of a class at most, at peaks of its map, and as many in the middle of what the CRF gives it.
    agreement: IoU with the CRF's mask of the class, in [0, 1], below which that one stays.
    """

    model: str = "mobile-sam"
    device: str = "auto"
    points: int = POINTS
    agreement: float = AGREEMENT

    @property
    def name(self) -> str:
        """The checkpoint and what it learned from, as every result and table says it."""
        return f"sam ({called(self.model)}, {TRAINED_ON_MASKS})"

    def __post_init__(self) -> None:
        if not 0 <= self.agreement <= 1:
            raise ConfigError(f"agreement={self.agreement} is not possible: use a number from 0 to 1")
        if self.points < 1:
            raise ConfigError(f"points={self.points} is not possible: use 1 or more")

    def refine(self, image: np.ndarray, scores: Tensor, evidence: Evidence | None = None) -> Tensor:
        """Scores (C, H, W) float32: 2 to 3 in a class's mask, elsewhere at most the CRF's.

        Raises RefinerError for inputs that do not fit, ModelError without the model's weights.
        """
        return self.look(image, scores, evidence).scores()

    def look(self, image: np.ndarray, scores: Tensor, evidence: Evidence | None = None) -> Look:
        """What `refine` makes its scores of: the points, the proposals and which of them are taken. Its errors."""
        checked = check_inputs(image, scores, evidence)
        known = evidence or Evidence(tuple("?" * len(scores)), checked)
        rough = DenseCRF().refine(image, checked)
        classes = [channel for channel, name in enumerate(known.names) if name]
        heat = support(known.maps[classes].cpu())
        if not any(tops := [peaks(each, self.points) for each in heat]):
            return Look(rough)
        won = rough.argmax(0)
        held = torch.stack([won == channel for channel in classes]).float()
        coarse = F.interpolate(held[None], limited_size(image.shape[:2], GRID), mode="area")[0].cpu() > 1 / 2
        points = [top and [*top, *middles(mask, self.points)] for top, mask in zip(tops, coarse, strict=True)]
        found = self._ask(image, held, points)
        asked = [
            Asked(known.names[channel], channel, tuple(own), chosen, 0 < chosen.agreement >= self.agreement)
            for channel, own, chosen in zip(classes, points, found, strict=True)
        ]
        return Look(rough, tuple(asked))

    def _on(self, device: torch.device) -> SamSegmenter:
        return _loaded(self.model, str(device) if self.device == "auto" else self.device)

    def _ask(self, image: np.ndarray, held: Tensor, points: Sequence[Sequence[tuple[float, float]]]) -> list[Chosen]:
        """What is chosen for each class. held: (K, H, W) float32, 1 where the CRF has it; points: of each, in [0, 1]."""
        model = self._on(held.device)
        features, size = model.encode(image), (image.shape[0], image.shape[1])
        chosen = []
        for row, own in enumerate(points):
            mask, agreement = torch.zeros(size, dtype=torch.bool), 0.0
            if own:
                logits, predicted = model.propose(features, size, [(x * size[1], y * size[0]) for x, y in own])
                small = F.interpolate(held[row][None, None], logits.shape[-2:], mode="area")[0, 0].to(logits.device)
                masks = logits.flatten(0, 1)
                rows, agreement = choose(masks > 0, predicted.flatten(), small)
                mask = drawn(masks[rows], size) if rows else mask
            chosen.append(Chosen(mask.to(held.device), agreement))
        return chosen


def merged(rough: Tensor, asked: Mapping[int, Asked]) -> Tensor:
    """The CRF's `rough` (C, H, W) with the masks of the channels that were taken.

    In a mask its channel has 2 + agreement · the CRF's probability: more than any channel without one, of which the CRF may be
    sure, and where masks overlap the higher product wins. Outside it, nothing.
    """
    result = rough.clone()
    rest = 0.0 if len(asked) < len(rough) else REST  # background takes what is left
    for channel, each in asked.items():
        if each.taken:
            inside = 2 + each.chosen.agreement * rough[channel]
            result[channel] = torch.where(each.chosen.mask, inside, result[channel] * rest)
    return result


@lru_cache(maxsize=1)
def _loaded(model: str, device: str) -> SamSegmenter:
    return load_promptable(model, device)
