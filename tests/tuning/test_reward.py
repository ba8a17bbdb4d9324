"""Eq. 4-5 by hand, on invented similarities."""

import math

import pytest
import torch

from pnp_ovss.errors import ConfigError
from pnp_ovss.tuning.reward import (
    Evidence,
    among_own,
    class_probabilities,
    get_reward,
    margins,
    own_probabilities,
    paper_reward,
)
from tests.near import equal, near


def evidence(kept, black, own=(0, 1), **more):
    numbers = (torch.tensor(rows, dtype=torch.float64) for rows in (kept, black))
    return Evidence(own, *numbers, torch.full((len(own),), 0.25), **more)


def test_eq_5_by_hand():
    # exp(ln 3) : exp(ln 1) = 3 : 1
    found = class_probabilities(torch.tensor([math.log(3.0), 0.0], dtype=torch.float64))

    equal(found, torch.tensor([0.75, 0.25]).double())


def test_the_row_of_class_k_is_asked_for_class_k():
    similarity = torch.tensor([[math.log(3.0), 0.0], [math.log(4.0), 0.0]], dtype=torch.float64)

    # masked image of class 0: Pr(0) = 3/4; masked image of class 1: Pr(1) = 1/5
    equal(own_probabilities(similarity, (0, 1)), torch.tensor([0.75, 0.2], dtype=torch.float64))


def test_eq_4_by_hand():
    # black: Pr = 2/3, 1/3. Masked image of class 0: 3/4 > 2/3, earns. Of class 1: 1/5 < 1/3, earns nothing.
    given = evidence([[math.log(3.0), 0.0], [math.log(4.0), 0.0]], [math.log(2.0), 0.0])

    assert paper_reward(given).tolist() == [1.0, 0.0]
    equal(margins(given), torch.tensor([3 / 4 - 2 / 3, 1 / 5 - 1 / 3], dtype=torch.float64))


def test_eq_4_is_strict_an_empty_mask_earns_nothing():
    black = [0.3, -1.2]

    assert paper_reward(evidence([black, black], black)).tolist() == [0.0, 0.0]


def test_eq_4_depends_on_differences_between_classes_only():
    given = evidence([[math.log(3.0), 0.0], [math.log(4.0), 0.0]], [math.log(2.0), 0.0])
    shifted = evidence([[math.log(3.0) + 7, 7.0], [math.log(4.0) - 5, -5.0]], [math.log(2.0) + 9, 9.0])

    assert paper_reward(given).tolist() == paper_reward(shifted).tolist()


def test_a_single_class_never_earns_whatever_its_mask():
    reward = get_reward("paper")

    assert paper_reward(evidence([[50.0]], [-50.0], own=(0,))).tolist() == [0.0]
    assert not reward.counts(1, vocabulary=20)
    assert reward.counts(2, vocabulary=20)


def test_against_the_vocabulary_a_single_class_can_earn():
    # exp: masked -> 3:1, Pr = 3/4; black -> 1:1, Pr = 1/2
    reward = get_reward("vocabulary")

    assert reward.rate(evidence([[math.log(3.0), 0.0]], [0.0, 0.0], own=(0,))).tolist() == [1.0]
    assert reward.counts(1, vocabulary=2)
    assert not reward.counts(1, vocabulary=1)


def test_contrast_is_what_the_mask_shows_minus_what_the_rest_still_shows():
    # kept -> 3:1, Pr = 3/4; cut -> 1:4, Pr = 1/5; 3/4 - 1/5 = 0.55
    given = Evidence(
        own=(0,),
        kept=torch.tensor([[math.log(3.0), 0.0]]),
        cut=torch.tensor([[0.0, math.log(4.0)]]),
        black=torch.zeros(2),
        areas=torch.tensor([0.3]),
    )
    reward = get_reward("contrast")

    near(reward.rate(given), torch.tensor([0.55]))
    assert reward.cut
    assert reward.counts(1, vocabulary=2)


def test_three_classes_by_hand():
    # exp: masked 0 -> 2:1:1, Pr = 1/2; masked 1 -> 1:2:5, Pr = 1/4; masked 2 -> 1:1:2, Pr = 1/2; black 1/3 each
    two, five = math.log(2.0), math.log(5.0)
    given = evidence([[two, 0.0, 0.0], [0.0, two, five], [0.0, 0.0, two]], [0.0, 0.0, 0.0], own=(0, 1, 2))

    assert paper_reward(given).tolist() == [1.0, 0.0, 1.0]


def test_unknown_reward_names_the_known_ones():
    with pytest.raises(ConfigError, match="choose from paper, vocabulary"):
        get_reward("best")


def test_among_own_drops_the_columns_of_other_classes():
    given = Evidence(
        own=(2, 0),
        kept=torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
        black=torch.tensor([7.0, 8.0, 9.0]),
        areas=torch.tensor([0.1, 0.2]),
        cut=torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]),
    )

    own = among_own(given)

    assert own.own == (0, 1)
    assert own.kept.tolist() == [[3.0, 1.0], [6.0, 4.0]]
    assert own.black.tolist() == [9.0, 7.0]
    assert own.cut is not None
    assert own.cut.tolist() == [[2.0, 0.0], [5.0, 3.0]]
