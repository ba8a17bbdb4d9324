import json
import math

import numpy as np
import pytest

from pnp_ovss.evaluation.intervals import ImageCounts
from pnp_ovss.evaluation.presence import (
    Decided,
    Presence,
    Survival,
    average_precision,
    drawn_names,
    presence,
    presence_by_list,
    survival,
)
from pnp_ovss.evaluation.records import ImageRecord


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


IMAGES = [
    Decided("a", present=(2,), kept=(2, 5), scores=(0.1, 0.9, 0.2, 0.3, 0.8)),
    Decided("b", present=(1, 4), kept=(4,), scores=(0.4, 0.1, 0.2, 0.7, 0.0)),
]


def test_the_whole_list_by_hand():
    *_, whole = presence_by_list(IMAGES, 5)
    assert (whole.names, whole.precision, whole.recall) == (5, pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (whole.kept, whole.present) == (1.5, 1.5)
    # by score: .9 there, .8 not, .7 there, .4 there
    assert whole.ap == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_shorter_lists_hold_what_is_there_and_forget_false_finds():
    shorter, whole = presence_by_list(IMAGES, 5)
    again, _ = presence_by_list(IMAGES[::-1], 5)
    assert (shorter.names, whole.names) == (3, 5)
    assert shorter == again
    assert shorter.recall == whole.recall
    assert shorter.present == 1.5


@pytest.mark.parametrize(("length", "count"), [(3, 20), (20, 80), (2, 171)])
def test_a_list_is_drawn_anew_for_each_image_and_the_same_in_every_run(length, count):
    present = (5, 2)
    lists = [drawn_names(Decided(id, present, ()), length, count) for id in "abcdefgh"]
    assert all(
        asked[:2] == [5, 2] and len(set(asked)) == length and set(asked) <= set(range(1, count + 1)) for asked in lists
    )
    assert (len({*map(tuple, lists)}) > 4) == (length > 2)
    assert lists[0] == drawn_names(Decided("a", present, (7,)), length, count)


def test_without_scores_there_is_no_average_precision():
    assert [row.ap for row in presence_by_list([Decided("a", (1,), (1, 2))], 30)] == [None] * 3


def test_average_precision_by_hand():
    assert average_precision(np.array([0.9, 0.8, 0.7, 0.1]), np.array([False, True, True, False])) == pytest.approx(
        (1 / 2 + 2 / 3) / 2
    )
    assert math.isnan(average_precision(np.array([0.5]), np.array([False])))


def test_scores_are_kept_as_they_are():
    """Rounded ones would tie, and a resumed run would have another average precision than a whole one."""
    record = ImageRecord(
        "a", present=(1,), scores={"": (0.99991, 0.99996)}, counts={"": ImageCounts.of(np.eye(3, dtype=int))}
    )
    again = ImageRecord.from_json(json.loads(json.dumps(record.to_json())), 3)
    assert again.scores == record.scores
