"""The rule of the policy `itm`, searched on tags."""

import numpy as np
import pytest

from pnp_ovss.evaluation.presence import Presence, presence
from pnp_ovss.policies import KeepRule
from pnp_ovss.tuning.presence import FAMILIES, choose_rule, rules_of, search_rules


def tagged_scores(seed=0, images=120, classes=10):
    """Scores that a threshold of one half separates but for some noise."""
    generator = np.random.default_rng(seed)
    tags = generator.random((images, classes)) < 0.15
    scores = np.clip(np.where(tags, 0.75, 0.25) + generator.normal(0, 0.15, tags.shape), 0, 1)
    return scores, tags


def rate(rule, scores, tags):
    """Oracle: the rule called for every image."""
    total = Presence()
    for row, there in zip(scores, tags, strict=True):
        total += presence(np.flatnonzero(there), rule(row.tolist()))
    return total


def test_the_best_of_each_family_against_the_rules_one_by_one():
    scores, tags = tagged_scores(images=30)
    results = search_rules(scores, tags)
    assert [result.family for result in results] == list(FAMILIES)
    for result in results:
        rated = [rate(rule, scores, tags).micro_f1 for rule in rules_of(result.family)]
        assert result.presence == rate(result.rule, scores, tags)
        assert result.presence.micro_f1 == max(rated)


def test_a_plain_threshold_is_kept_unless_something_is_really_better():
    results = search_rules(*tagged_scores())
    assert results[0].gain.value == 0
    chosen = choose_rule(results)
    assert chosen.family == "threshold"
    assert 0.4 <= chosen.rule.threshold <= 0.6


def test_a_relative_rule_is_chosen_where_images_differ_in_their_level():
    scores, tags = tagged_scores()
    tags[:, 0] |= ~tags.any(axis=1)  # every image has a class, or no share of the best could be right
    scores = np.where(tags, 0.9, 0.2) * np.random.default_rng(1).uniform(0.1, 1, size=(len(scores), 1))
    chosen = choose_rule(search_rules(scores, tags))
    assert "relative" in chosen.family
    assert chosen.presence.micro_f1 == 1
    assert chosen.gain.low > 0


def test_an_unknown_family_is_an_error():
    with pytest.raises(ValueError, match="no family of rules 'magic'"):
        next(rules_of("magic"))


def test_the_rules_are_those_of_the_policy():
    assert next(rules_of("top_k")) == KeepRule(0.0, top_k=1)
    assert len(list(rules_of("threshold"))) == 49
