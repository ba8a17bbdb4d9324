"""Which points a promptable segmenter is asked about, which proposals are believed, how they become a mask."""

import torch

from pnp_ovss.refiners.proposals import choose, drawn, middles, peaks, soft_iou, support


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


def test_the_best_by_agreement_and_predicted_iou_is_chosen_and_others_join_it():
    scores = torch.tensor([[1.0, 1.0, 1.0, 1.0, 0.0]])
    masks = torch.tensor([[[1, 1, 0, 0, 0]], [[0, 0, 1, 0, 0]], [[1, 1, 1, 1, 1]]]) > 0
    assert choose(masks, torch.tensor([1.0, 0.1, 0.5]), scores)[0] == [0, 2], "the union of all fits better than of two"
    assert choose(masks[:2], torch.tensor([1.0, 0.1]), scores) == ([0, 1], 0.75)
    assert choose(masks[:2], torch.tensor([0.1, 1.0]), scores) == ([1, 0], 0.75), "the surer one first"
    assert choose(masks[:2], torch.tensor([1.0, 5.0]), scores) == ([0, 1], 0.75), "nothing is surer than sure"
    assert choose(masks, torch.ones(3), torch.zeros(1, 5)) == ([], 0.0)
    apart = torch.tensor([[[1, 1, 1, 1, 0]], [[0, 0, 0, 0, 1]]]) > 0
    assert choose(apart, torch.ones(2), scores) == ([0], 1.0), "what makes it worse does not join"


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
