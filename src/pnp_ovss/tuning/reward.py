"""Rewards that need no mask labels: Eq. 4-5 of the paper, and others beside it. Pure tensor functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pnp_ovss.errors import ConfigError


@dataclass(frozen=True)
class Evidence:
    """What a scorer said of one image with classes K(I).

    own: (K,) the columns of K(I) among the C compared names. kept: (K, C) similarities of the masked images
    M_k ⊗ I. cut: (K, C) of the rest (1 − M_k) ⊗ I, or None where the reward does not ask. black: (C,) of a black
    image. areas: (K,) share of the image that each mask covers, in [0, 1].
    """

    own: tuple[int, ...]
    kept: Tensor
    black: Tensor
    areas: Tensor
    cut: Tensor | None = None


def class_probabilities(similarity: Tensor) -> Tensor:
    """Eq. 5: Pr(I, k), the softmax over the compared classes. similarity: (..., C). Returns the same shape.

    >>> class_probabilities(torch.tensor([0.0, 0.0]))
    tensor([0.5000, 0.5000])
    """
    return similarity.softmax(dim=-1)


def own_probabilities(similarity: Tensor, own: Sequence[int]) -> Tensor:
    """Pr of class k for the k-th row: similarity (K, C), own (K,) columns. Returns (K,)."""
    return class_probabilities(similarity)[torch.arange(len(own)), list(own)]


def margins(evidence: Evidence) -> Tensor:
    """Pr(M_k ⊗ I, k) − Pr(0, k), (K,) in [-1, 1]: what Eq. 4 asks the sign of, and what breaks its ties."""
    black = class_probabilities(evidence.black)[list(evidence.own)]
    return own_probabilities(evidence.kept, evidence.own) - black


def paper_reward(evidence: Evidence) -> Tensor:
    """Eq. 4: 1 where the masked image is likelier of class k than a black one is, else 0. Returns (K,) float32.

    The sum over classes and images is the paper's reward. With a single compared class Pr is 1 for both images
    and the reward is 0 whatever the mask.
    """
    return (margins(evidence) > 0).float()


def contrast_reward(evidence: Evidence) -> Tensor:
    """Pr(M_k ⊗ I, k) − Pr((1 − M_k) ⊗ I, k), (K,) in [-1, 1]: a good mask shows the class and takes it from the rest.

    Unlike Eq. 4 it is not a yes or no, and a mask over everything or over nothing earns little. Needs `cut`.
    """
    if evidence.cut is None:
        raise ConfigError("the reward `contrast` needs the cut images: Evidence.cut")
    return own_probabilities(evidence.kept, evidence.own) - own_probabilities(evidence.cut, evidence.own)


def among_own(evidence: Evidence) -> Evidence:
    """The same evidence compared among the image's own classes only, as Eq. 5 does."""
    own = list(evidence.own)
    cut = None if evidence.cut is None else evidence.cut[:, own]
    return Evidence(tuple(range(len(own))), evidence.kept[:, own], evidence.black[own], evidence.areas, cut)


@dataclass(frozen=True)
class Reward:
    """A reward by name. rate: Evidence -> (K,). vocabulary: compared with all names of the tuning set instead of K(I).

    cut: whether it looks at the image without the masked region.
    """

    name: str
    rate: Callable[[Evidence], Tensor]
    vocabulary: bool = False
    cut: bool = False

    def counts(self, own: int, vocabulary: int) -> bool:
        """Whether an image with `own` classes, in a set with `vocabulary` names, can earn anything under Eq. 5."""
        return (vocabulary if self.vocabulary else own) > 1


REWARDS = {
    reward.name: reward
    for reward in (
        Reward("paper", paper_reward),
        Reward("vocabulary", paper_reward, vocabulary=True),
        Reward("contrast", contrast_reward, vocabulary=True, cut=True),
    )
}
"""All rewards by name: `paper` is Eq. 4-5; `vocabulary` compares with every name, so that single-class images count;
`contrast` asks how much likelier the class is in the mask than in the rest."""


def get_reward(name: str) -> Reward:
    """The reward of this name. Raises ConfigError for an unknown one."""
    if name not in REWARDS:
        raise ConfigError(f"unknown reward '{name}'; choose from {', '.join(REWARDS)}")
    return REWARDS[name]
