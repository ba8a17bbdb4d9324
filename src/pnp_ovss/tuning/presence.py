"""How the policy `itm` should decide, from image-level tags alone: which KeepRule finds the tagged classes best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.evaluation.intervals import Interval
from pnp_ovss.evaluation.presence import Presence
from pnp_ovss.policies import KeepRule

STEPS = tuple(round(0.02 * step, 2) for step in range(1, 50))
COARSE = tuple(round(0.05 * step, 2) for step in range(1, 20))
MOST = 4
RESAMPLES = 1000


@dataclass(frozen=True)
class RuleResult:
    """The best rule of a family and what it finds. gain: its micro-F1 minus that of the best plain threshold."""

    family: str
    rule: KeepRule
    presence: Presence
    gain: Interval


def rules_of(family: str) -> Iterator[KeepRule]:
    """The candidates of a family: `threshold`, `relative`, `top_k`, or `threshold and relative`."""
    if family == "threshold":
        yield from (KeepRule(threshold) for threshold in STEPS)
    elif family == "relative":
        yield from (KeepRule(0.0, relative=share) for share in STEPS)
    elif family == "top_k":
        yield from (KeepRule(0.0, top_k=count) for count in range(1, MOST + 1))
    elif family == "threshold and relative":
        yield from (KeepRule(threshold, relative=share) for threshold in COARSE for share in COARSE)
    else:
        raise ValueError(f"no family of rules {family!r}")


FAMILIES = ("threshold", "relative", "top_k", "threshold and relative")


def search_rules(scores: NDArray[np.float64], tags: NDArray[np.bool_], *, seed: int = 0) -> list[RuleResult]:
    """The best rule of each family by micro-F1 over image x class.

    scores: (N, C) match probabilities in [0, 1]. tags: (N, C), which classes are there. The gain over the plain
    threshold has a paired bootstrap interval over images.
    """
    best = {family: max(rules_of(family), key=lambda rule: _counts(rule, scores, tags).micro_f1) for family in FAMILIES}
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
