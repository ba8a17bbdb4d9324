"""From a configuration to its reward over all tagged photos; equal masks are scored once."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pnp_ovss.config import SegmenterConfig
from pnp_ovss.errors import ConfigError
from pnp_ovss.tuning.maps import MapStore
from pnp_ovss.tuning.masks import Masks
from pnp_ovss.tuning.reward import Evidence, Reward, margins
from pnp_ovss.tuning.scorers import Scorer


@dataclass(frozen=True)
class Outcome:
    """What one configuration earned.

    reward: mean over classes and images, of those images that can earn anything. total: the sum, the paper's figure.
    margin: mean of Pr(M_k ⊗ I, k) − Pr(0, k), which decides between equal rewards. area: mean share of the image
    that a mask covers. empty: share of masks that cover nothing.
    """

    reward: float
    total: float
    margin: float
    area: float
    empty: float


@dataclass
class Effort:
    """What the search has cost so far: pictures asked for and really scored, and wall seconds of masks and scorer."""

    asked: int = 0
    scored: int = 0
    mask_s: float = 0.0
    scorer_s: float = 0.0


class Objective:
    """The reward of a configuration. Call it with a `SegmenterConfig`.

    store: the tagged photos. masks: the stage. counted: indices of the photos that can earn a reward (with Eq. 5
    those of several classes), left_out: how many cannot. Raises ConfigError when none can.
    """

    def __init__(self, store: MapStore, masks: Masks, scorer: Scorer, reward: Reward) -> None:
        self.store = store
        self.masks = masks
        self.scorer = scorer
        self.reward = reward
        self.effort = Effort()
        self.vocabulary = tuple(dict.fromkeys(name for image in store.images for name in image.class_names))
        self.counted = tuple(
            i for i, im in enumerate(store.images) if reward.counts(len(im.class_names), len(self.vocabulary))
        )
        self.left_out = len(store.images) - len(self.counted)
        self._seen: dict[tuple[int, bytes], Tensor] = {}
        if not self.counted:
            raise ConfigError(
                f"no image of {len(store.images)} can earn a reward '{reward.name}': a probability "
                "among one class is always 1 (Eq. 5); add images of several classes, or use --reward vocabulary with several tags"
            )

    def __call__(self, config: SegmenterConfig) -> Outcome:
        """Rewards of all counted photos, averaged over their classes."""
        found = [self.evidence(index, config) for index in self.counted]
        rewards = torch.cat([self.reward.rate(evidence) for evidence in found])
        areas = torch.cat([evidence.areas for evidence in found])
        return Outcome(
            reward=float(rewards.mean()),
            total=float(rewards.sum()),
            margin=float(torch.cat([margins(evidence) for evidence in found]).mean()),
            area=float(areas.mean()),
            empty=float((areas == 0).float().mean()),
        )

    def evidence(self, index: int, config: SegmenterConfig) -> Evidence:
        """The scorer's answers on the masks of one photo."""
        start = time.perf_counter()
        masks = self.masks(index, config)
        self.effort.mask_s += time.perf_counter() - start
        own = self.store.images[index].class_names
        names = self.vocabulary if self.reward.vocabulary else own
        return Evidence(
            own=tuple(names.index(name) for name in own),
            kept=self._similarity(index, masks, names),
            black=self.scorer.score_black(names),
            areas=masks.float().mean(dim=(1, 2)),
            cut=self._similarity(index, ~masks, names) if self.reward.cut else None,
        )

    def _similarity(self, index: int, masks: Tensor, names: tuple[str, ...]) -> Tensor:
        """(K, C) of the photo seen through each mask; each distinct picture is scored once."""
        keys = [(index, _digest(mask)) for mask in masks]
        missing = {key: mask for key, mask in zip(keys, masks, strict=True) if key not in self._seen}
        self.effort.asked += len(keys)
        self.effort.scored += len(missing)
        if missing:
            photo = np.asarray(self.store.photo(index))
            pictures = [photo * mask.numpy()[..., None] for mask in missing.values()]
            start = time.perf_counter()
            rows = self.scorer.score(pictures, names)
            self.effort.scorer_s += time.perf_counter() - start
            self._seen.update(zip(missing, rows, strict=True))
        return torch.stack([self._seen[key] for key in keys])


def _digest(mask: Tensor) -> bytes:
    return hashlib.blake2b(np.packbits(mask.numpy()).tobytes(), digest_size=16).digest()
