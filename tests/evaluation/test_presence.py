import math

import numpy as np
import pytest

from pnp_ovss.evaluation.presence import Presence, Survival, presence, survival


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


def test_what_became_of_the_found_classes_by_hand():
    confusion = np.zeros((5, 5), dtype=np.int64)
    confusion[1, 1], confusion[1, 0] = 9, 91  # 9 %: under a tenth
    confusion[2, 2], confusion[2, 0] = 10, 90  # 10 %: not under
    confusion[3, 0] = 50  # none right, but label 3 stands elsewhere
    confusion[0, 3] = 7
    confusion[4, 0] = 50  # nowhere
    assert survival(confusion, [1, 2, 3, 4], [1, 2, 3, 4]) == Survival(4, 1, 3)
    assert survival(confusion, [1, 2], [2, 3, 4]) == Survival(1, 0, 0)
    assert survival(np.zeros((5, 5), dtype=np.int64), [1], [1]) == Survival()
    assert Survival(1, 0, 1) + Survival(2, 1, 1) == Survival(3, 1, 2)
