"""Eq. 1-3 against hand-written oracles."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pnp_ovss.saliency import (
    class_maps,
    drop_most_salient,
    minmax,
    scored_tokens,
    token_saliency,
)
from pnp_ovss.vlms.base import match_objective
from tests.near import equal, near


def test_gradcam_by_hand():
    probs = torch.tensor([[[0.2, 0.8], [0.5, 0.5]], [[1.0, 0.0], [0.3, 0.7]]], dtype=torch.float64)
    grad = torch.tensor([[[3.0, -1.0], [2.0, 0.0]], [[1.0, 5.0], [-2.0, 2.0]]], dtype=torch.float64)
    expected = [[(0.6 + 1.0) / 2, 0.0], [1.0 / 2, 1.4 / 2]]
    equal(token_saliency(probs, grad), torch.tensor(expected, dtype=torch.float64))
    near(token_saliency(probs.bfloat16(), grad.bfloat16()), torch.tensor(expected), atol=0.02)


def test_without_gradient_the_attention_itself():
    probs = torch.rand(3, 4, 5).double()
    equal(token_saliency(probs, None), probs.sum(0) / 3)


def test_class_map_is_the_mean_of_its_tokens():
    tokens = torch.arange(12.0).double().reshape(4, 3)
    expected = torch.stack([tokens[1], (tokens[2] + tokens[3]) / 2])
    equal(class_maps(tokens, [(1,), (2, 3)]), expected)


def test_authors_score_sums_tokens_and_sep_once():
    tokens = torch.arange(15.0).double().reshape(5, 3)
    equal(scored_tokens(tokens, [(1,), (1, 2)]), tokens[1] + tokens[2] + tokens[4])


@pytest.mark.parametrize("gradient", ["match_logit", "margin", "paper-literal"])
def test_objectives(gradient):
    logits = torch.tensor([[0.3, 1.2]], dtype=torch.float64, requires_grad=True)
    value = match_objective(logits, gradient)
    expected = {
        "match_logit": 1.2,
        "margin": 0.9,
        "paper-literal": -math.log(math.exp(1.2) / (math.exp(0.3) + math.exp(1.2))),
    }
    assert value.item() == pytest.approx(expected[gradient], rel=1e-9)
    slope = torch.autograd.grad(value, logits)[0][0, 1].item()
    assert (slope < 0) == (gradient == "paper-literal")  # Eq. 1 as printed keeps what lowers the match


def test_literal_eq_2_and_3_where_all_values_differ():
    rng = np.random.default_rng(0)
    saliency = rng.permutation(16).astype(np.float32)
    visible = np.ones(16, bool)
    for _ in range(4):
        median = np.median(saliency[visible])
        literal = visible & ~(saliency >= median)
        ours = drop_most_salient(torch.from_numpy(saliency), torch.from_numpy(visible)).numpy()
        np.testing.assert_array_equal(ours, literal)
        visible = literal


def test_ties_go_by_index_and_zeros_do_not_drop_everything():
    visible = drop_most_salient(torch.tensor([0.0, 0, 5, 0, 0, 0]), torch.ones(6, dtype=torch.bool))
    assert visible.tolist() == [False, False, False, True, True, True]


@given(st.integers(1, 60), st.integers(0, 2**20), st.floats(0.05, 0.95))
def test_each_round_drops_the_ceiling_of_its_share(size, seed, share):
    torch.manual_seed(seed)
    saliency = torch.rand(size).round(decimals=1)
    visible = torch.rand(size) < 0.7
    left = drop_most_salient(saliency, visible, share=share)
    assert int(left.sum()) == int(visible.sum()) - math.ceil(int(visible.sum()) * share)
    assert not (left & ~visible).any()
    if left.any() and (visible & ~left).any():
        assert saliency[left].max() <= saliency[visible & ~left].min()


def test_a_count_instead_of_a_share():
    visible = torch.ones(25, dtype=torch.bool)
    left = drop_most_salient(torch.arange(25.0), visible, count=10)
    assert left.tolist() == [True] * 15 + [False] * 10
    assert not drop_most_salient(torch.arange(25.0), left, count=20).any()
    assert visible.all()  # the caller's tensor is not touched


def test_minmax_scales():
    maps = torch.tensor([[[0.0, 2.0]], [[2.0, 4.0]], [[3.0, 3.0]]]).double()
    equal(minmax(maps), torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]], [[0.0, 0.0]]]).double())
    equal(minmax(maps, "global"), maps / 4)
    assert minmax(maps, "none") is maps
    assert minmax(torch.zeros(2, 3)).isfinite().all()
    assert minmax(torch.full((1, 4), 1e-42)).tolist() == [[0.0] * 4]


def test_a_mask_that_covers_everything_can_be_kept():
    maps = torch.stack([torch.ones(2, 2), torch.zeros(2, 2)])
    assert minmax(maps, keep_constant=True).tolist() == maps.tolist()
