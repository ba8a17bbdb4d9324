import math

import numpy as np
import pytest

from pnp_ovss.evaluation.presence import Presence, presence


def test_by_hand():
    total = presence({1, 2, 3}, {2, 3, 4}) + presence({5}, ()) + presence((), {6})
    assert total == Presence(kept_present=2, kept_absent=2, missed=2)
    assert total.precision == pytest.approx(1 / 2)
    assert total.recall == pytest.approx(1 / 2)
    assert total.micro_f1 == pytest.approx(1 / 2)


def test_against_indicator_matrices():
    generator = np.random.default_rng(0)
    present, kept = generator.random((2, 30, 20)) < 0.2
    total = Presence()
    for actual, chosen in zip(present, kept, strict=True):
        total += presence(np.flatnonzero(actual), np.flatnonzero(chosen))
    assert total.precision == pytest.approx((present & kept).sum() / kept.sum())
    assert total.recall == pytest.approx((present & kept).sum() / present.sum())
    harmonic = 2 * total.precision * total.recall / (total.precision + total.recall)
    assert total.micro_f1 == pytest.approx(harmonic)


def test_nothing_kept_or_present():
    assert math.isnan(presence({1}, ()).precision)
    assert presence({1}, ()).recall == presence({1}, ()).micro_f1 == 0
    assert math.isnan(presence((), {1}).recall)
    assert math.isnan(Presence().micro_f1)
