"""Which points a promptable segmenter is asked about, which proposals are believed, how they become a mask."""

import torch

from pnp_ovss.refiners.proposals import choose, drawn, middles, peaks, quality, soft_iou, support
from tests.near import near


def test_peaks_are_local_maxima_the_highest_first():
    heat = torch.zeros(5, 5)
    heat[1, 1], heat[1, 2], heat[4, 4], heat[0, 4] = 1.0, 0.9, 0.8, 0.4
    assert peaks(heat, 4) == [(0.3, 0.3), (0.9, 0.9)]
    assert peaks(heat, 1) == [(0.3, 0.3)]
    assert peaks(torch.ones(3, 3), 4) == []


def test_support_is_low_where_another_class_is_ahead():
    maps = torch.tensor([[[4.0, 4.0, 0.0]], [[0.0, 8.0, 0.0]]])
    heat = support(maps)
    assert heat[0, 0, 0] > 2 * heat[0, 0, 1]


def test_agreement_counts_both_ways():
    scores = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    masks = torch.tensor([[[1, 1, 0, 0]], [[1, 0, 0, 0]], [[1, 1, 1, 1]]]) > 0
    assert soft_iou(masks, scores).tolist() == [1.0, 0.5, 0.5]


def test_middles_lie_deep_in_the_parts_of_a_mask():
    """Two squares of 5 and 3 cells, 3 and 2 deep, one cell alone and the photo's rim as an edge."""
    mask = torch.zeros(9, 12, dtype=torch.bool)
    mask[1:6, 0:5] = mask[3:6, 8:11] = mask[8, 11] = True
    assert middles(mask, 4) == [(2.5 / 12, 3.5 / 9), (9.5 / 12, 4.5 / 9)]
    assert middles(mask, 1) == [(2.5 / 12, 3.5 / 9)]
    assert middles(torch.zeros(3, 3, dtype=torch.bool), 4) == []
    assert middles(torch.ones(1, 1, dtype=torch.bool), 4) == [(0.5, 0.5)]
    assert len(middles(torch.ones(3, 40, dtype=torch.bool), 4)) == 4, "along a ridge they keep apart"


def test_a_proposal_is_good_where_the_model_is_sure_it_is_stable_and_others_are_the_same():
    row = torch.tensor([[9.0, 9.0, -9.0, -9.0]])
    shaky, other = torch.tensor([[9.0, 0.5, -9.0, -9.0]]), torch.tensor([[-9.0, -9.0, -9.0, 9.0]])
    sure = torch.ones(4)
    found = quality(torch.stack([row, row, shaky, other]), sure)
    near(found, torch.tensor([0.75**0.5, 0.75**0.5, 0.5 * 0.75**0.5, 0.5]))
    near(quality(torch.stack([row, row, shaky, other]), sure / 2), found / 2)
    near(quality(torch.stack([-row - 10, other]), torch.tensor([1.0, 2.0])), torch.tensor([0.0, 0.5**0.5]))


def test_the_best_by_agreement_and_worth_is_chosen_and_good_ones_join_it():
    scores = torch.tensor([[1.0, 1.0, 1.0, 1.0, 0.0]])
    masks = torch.tensor([[[1, 1, 0, 0, 0]], [[0, 0, 1, 0, 0]], [[1, 1, 1, 1, 0]]]) > 0
    joined = choose(masks, torch.tensor([1.0, 0.6, 0.2]), scores)
    assert joined == ([0, 1], 0.75), "not the third, which fits best and is bad"
    alone = choose(masks, torch.tensor([1.0, 0.4, 0.2]), scores)
    assert alone == ([0], 0.5), "half as good is not enough"
    assert choose(masks, torch.tensor([1.0, 0.6, 0.2]), torch.zeros(1, 5)) == ([], 0.0)


def test_a_mask_has_no_specks_and_its_outline_runs_between_cells():
    """A part with a hole of one cell, a cell of its own outside, and an edge that the logits put three quarters across."""
    logits = -torch.ones(2, 100, 100)
    logits[0, :, :40] = 3
    logits[0, 50, 20], logits[0, 50, 80] = -3, 3
    logits[1, 10:30, 60:90] = 1
    mask = drawn(logits, (400, 400))
    expected = torch.zeros(400, 400, dtype=torch.bool)
    expected[:, :161], expected[40:120, 240:360] = True, True
    assert torch.equal(mask[:, :200], expected[:, :200])
    assert (mask != expected).float().mean() < 0.001
    assert torch.equal(drawn(logits[:1], (400, 400))[:, 200:], torch.zeros(400, 200, dtype=torch.bool))
