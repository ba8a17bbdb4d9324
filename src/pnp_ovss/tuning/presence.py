"""How the policy `itm` should decide, from image-level tags alone: which KeepRule finds the tagged classes best, for any model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.competition import logit
from pnp_ovss.errors import ConfigError
from pnp_ovss.evaluation.intervals import Interval
from pnp_ovss.evaluation.presence import Presence
from pnp_ovss.policies import KeepRule
from pnp_ovss.presence import SHARE_OF_MEDIAN
from pnp_ovss.segmenter import Segmenter
from pnp_ovss.tuning.maps import TaggedImage
from pnp_ovss.words import counted

STEPS = tuple(round(0.02 * step, 2) for step in range(1, 50))
COARSE = tuple(round(0.05 * step, 2) for step in range(1, 20))
MOST = 4
RESAMPLES = 1000
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of a name's median over the bank that are compared with the one in use."""


@dataclass(frozen=True)
class RuleResult:
    """The best rule of a family and what it finds. gain: its micro-F1 minus that of the best plain threshold."""

    family: str
    rule: KeepRule
    presence: Presence
    gain: Interval


@dataclass(frozen=True)
class FittedPresence:
    """What tags say of a model's matching.

    names: all names among the tags; a photo is taken not to show those that it is not tagged with. images: how many.
    results: the best rule of each family; chosen: the one to use. by_share: {share of the median that is taken off a
    name: the best micro-F1 of a plain threshold}, empty without a bank.
    """

    names: tuple[str, ...]
    images: int
    tags: int
    results: tuple[RuleResult, ...]
    chosen: RuleResult
    by_share: dict[float, float]

    @property
    def settings(self) -> dict[str, Any]:
        """The chosen rule as settings."""
        rule = self.chosen.rule
        return {"match_threshold": rule.threshold, "match_relative": rule.relative, "match_top_k": rule.top_k}


def fit_presence(
    segmenter: Segmenter,
    images: Sequence[TaggedImage],
    *,
    seed: int = 0,
    track: Callable[[Iterable[TaggedImage]], Iterable[TaggedImage]] = iter,
) -> FittedPresence:
    """Match every name among the tags with every photo and search the rule. Raises ConfigError for fewer than two names."""
    names = tuple(dict.fromkeys(name for image in images for name in image.class_names))
    if len(names) < 2:
        raise ConfigError(
            f"{counted(len(images), 'photo')} tagged with {counted(len(names), 'name')}: a threshold needs photos that a "
            "name is absent from"
        )
    asked = segmenter.replace(policy="itm", match_threshold=0.0, match_relative=0.0, match_top_k=0)
    scores = np.array([asked.prepare(image.path, names).match_scores for image in track(images)], np.float64)
    tags = np.array([[name in image.class_names for name in names] for image in images])
    results = search_rules(scores, tags, seed=seed)
    by_share = {share: best_f1(moved, tags) for share, moved in other_shares(segmenter, names, scores)}
    return FittedPresence(names, len(images), int(tags.sum()), tuple(results), choose_rule(results), by_share)


def other_shares(
    segmenter: Segmenter, names: Sequence[str], scores: NDArray[np.float64]
) -> Iterator[tuple[float, NDArray[np.float64]]]:
    """The logits as they would be with another share of each name's median taken off; nothing without a bank."""
    if segmenter.presence.bank is None:
        return
    medians = np.array(list(segmenter.presence.medians(names).values()))
    logits = np.vectorize(logit)(scores)
    for share in SHARES:
        yield share, logits + (SHARE_OF_MEDIAN - share) * medians


def best_f1(scores: NDArray[np.float64], tags: NDArray[np.bool_]) -> float:
    """The best micro-F1 of all thresholds on scores (N, C) of any scale."""
    ranked = tags.ravel()[np.argsort(-scores, axis=None, kind="stable")]
    right = np.cumsum(ranked)
    return float(np.max(2 * right / (np.arange(1, right.size + 1) + ranked.sum())))


RULES = {
    "threshold": [KeepRule(threshold) for threshold in STEPS],
    "relative": [KeepRule(0.0, relative=share) for share in STEPS],
    "top_k": [KeepRule(0.0, top_k=count) for count in range(1, MOST + 1)],
    "threshold and relative": [KeepRule(threshold, relative=share) for threshold in COARSE for share in COARSE],
}
"""The candidates of each family."""


def search_rules(scores: NDArray[np.float64], tags: NDArray[np.bool_], *, seed: int = 0) -> list[RuleResult]:
    """The best rule of each family by micro-F1 over image x class.

    scores: (N, C) match probabilities in [0, 1]. tags: (N, C), which classes are there. The gain over the plain
    threshold has a paired bootstrap interval over images.
    """
    best = {
        family: max(rules, key=lambda rule: _counts(rule, scores, tags).micro_f1) for family, rules in RULES.items()
    }
    plain = _per_image(best["threshold"], scores, tags)
    results = []
    for family, rule in best.items():
        found = _per_image(rule, scores, tags)
        results.append(RuleResult(family, rule, _counts(rule, scores, tags), _gain(found, plain, seed)))
    return results


def choose_rule(results: Sequence[RuleResult]) -> RuleResult:
    """The plain threshold, unless another family is better by more than chance; then the best of those."""
    better = [result for result in results if result.gain.low > 0]
    return max(better, key=lambda result: result.presence.micro_f1) if better else results[0]


def _counts(rule: KeepRule, scores: NDArray[np.float64], tags: NDArray[np.bool_]) -> Presence:
    return Presence(*(int(column) for column in _per_image(rule, scores, tags).sum(axis=0)))


def _per_image(rule: KeepRule, scores: NDArray[np.float64], tags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N, 3): kept and there, kept and not there, missed; the same as `rule(row)` for each row of scores."""
    lowest = np.maximum(rule.threshold, rule.relative * scores.max(axis=1, keepdims=True))
    kept = scores >= lowest
    if rule.top_k:
        rank = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1, kind="stable")
        kept &= rank < rule.top_k
    return np.stack([(kept & tags).sum(axis=1), (kept & ~tags).sum(axis=1), (~kept & tags).sum(axis=1)], axis=1)


def _gain(ours: NDArray[np.int64], theirs: NDArray[np.int64], seed: int) -> Interval:
    images = len(ours)
    weights = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=RESAMPLES)
    values = _micro_f1(weights @ ours) - _micro_f1(weights @ theirs)
    value = _micro_f1(ours.sum(axis=0)[None]) - _micro_f1(theirs.sum(axis=0)[None])
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(float(value[0]), float(low), float(high))


def _micro_f1(counts: NDArray) -> NDArray[np.float64]:
    """(R, 3) pooled counts to (R,)."""
    there, absent, missed = counts.T.astype(np.float64)
    return 2 * there / np.maximum(2 * there + absent + missed, 1)
