"""The formulas of training/: packed texts against the model itself, losses and targets by hand."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pnp_ovss.vlms.encoders.pocket_model import PocketConfig, PocketModel
from tests.near import near


def make_batch(training, masks, there, *, masked=None, weight=None):
    """One photo, one text with all the names; masks (M, P, P)."""
    batches = training("batches")
    masks, there = torch.tensor(masks)[None].float(), torch.tensor([there]).float()
    count = there.shape[1]
    spans = torch.eye(count)[None]
    zeros = torch.zeros(1, count, dtype=torch.long)
    return batches.Batch(
        middle=torch.zeros(0), ids=zeros, positions=zeros, text=zeros, starts=torch.zeros(1, 1, dtype=torch.long),
        match=there.clamp(min=0).mean(1, keepdim=True), spans=spans, there=there,
        weight=torch.ones(1, count) if weight is None else torch.tensor([weight]), masks=masks,
        masked=torch.ones(1, count, dtype=torch.bool) if masked is None else torch.tensor([masked]), rows=[0],
    )  # fmt: skip


def test_packed_texts_match_the_model_one_by_one(training):
    torch.manual_seed(0)
    model = PocketModel(PocketConfig(vocabulary=50, width=32, layers=2, heads=2, feed_forward=64)).eval()
    texts = [[1, 5, 6, 7, 2], [1, 9, 2]]
    packed = (
        torch.tensor([[*texts[0], *texts[1]]]),
        torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2]]),
        torch.tensor([[0, 0, 0, 0, 0, 1, 1, 1]]),
        torch.tensor([[0, 5]]),
    )
    with torch.no_grad():
        tokens = torch.randn(1, 16, 32)
        found = training("forward").read_texts(model, tokens, packed).match[0]
        for k, ids in enumerate(texts):
            alone = model.match(tokens, torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long))
            torch.testing.assert_close(found[k], alone[0], rtol=1e-3, atol=1e-4)


def test_matching_is_taught_half_by_what_is_known_and_half_by_the_teacher(training):
    match_loss = training("losses").match_loss
    margin, match = torch.zeros(1, 2, requires_grad=True), torch.tensor([[1.0, float("nan")]])

    match_loss(margin, match, torch.tensor([[0.2, 0.9]])).backward()
    near(
        margin.grad, torch.tensor([[0.5 - 0.6, 0.0]])
    )  # sigmoid(0) less the mean of 1 and 0.2; nothing is known of the other
    margin.grad = None
    match_loss(margin, match).backward()
    near(margin.grad, torch.tensor([[0.5 - 1.0, 0.0]]))


def test_the_teacher_tells_the_mean_logit_of_its_views(training, monkeypatch):
    losses, batch = training("losses"), make_batch(training, [[[0.0]]], [1])
    teacher = SimpleNamespace(image_encoder=SimpleNamespace(tokens=lambda view: view))
    said = {1: [[[0.0, 3.0]]], 2: [[[0.5, 1.5]]]}
    monkeypatch.setattr(
        losses, "read_texts", lambda model, tokens, packed: SimpleNamespace(match=torch.tensor(said[tokens]))
    )

    near(losses.told_by(teacher, batch, (1, 2)), torch.sigmoid(torch.tensor([[2.0]])))


HALF = [[1.0, 1.0], [0.0, 0.0]]
EMPTY = [[0.0, 0.0], [0.0, 0.0]]


def test_the_absent_loss_is_minus_log_of_the_share_on_what_is_there(training):
    batch = make_batch(training, [HALF, EMPTY], [1, 0])
    cams = torch.tensor([[[3.0, 0, 0, 0], [0, 0, 0, 1.0]]])  # 3 on what is there, 1 on what is not

    found = training("losses").absent_loss(cams, batch)

    assert found.item() == pytest.approx(-math.log(3 / 4), abs=1e-4)


def test_the_absent_loss_has_nothing_to_say_of_a_list_of_one_kind(training):
    batch = make_batch(training, [HALF, HALF], [1, 1])

    assert training("losses").absent_loss(torch.rand(1, 2, 4), batch).item() == 0


def test_the_cover_loss_is_near_zero_on_the_target_and_high_beside_it(training):
    batch = make_batch(training, [HALF], [1])
    losses = training("losses")
    on, beside = torch.tensor([[[5.0, 5, 0, 0]]]), torch.tensor([[[0.0, 0, 5, 5]]])

    # beyond a quarter of the peak: sigmoid(15) = 1 there, sigmoid(-5) = 0.007 elsewhere
    said = 2 * 1 / (1 + math.exp(-15)) + 2 * 1 / (1 + math.exp(5))
    assert losses.cover_loss(on, batch).item() == pytest.approx(1 - (2 * 2 + 1) / (said + 2 + 1), abs=1e-4)
    overlap = (2 * 2 / (1 + math.exp(5)) + 1) / (said + 2 + 1)
    assert losses.cover_loss(beside, batch).item() == pytest.approx(1 - overlap, abs=1e-4)


UPPER, LOWER = [[1.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 1.0]]


def test_affinity_completes_along_tokens_that_are_alike(training):
    tokens = torch.tensor([[[1.0, 0], [1, 0], [0, 1]]])

    found = training("losses").affinity(tokens, 16)

    expected = torch.tensor([[[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]]])
    near(found, expected)


def test_competition_costs_what_the_winner_lacks_of_its_target(training):
    batch = make_batch(training, [UPPER, LOWER], [1, 1])
    losses = training("losses")
    right, even = torch.tensor([[[1.0, 1, 0, 0], [0, 0, 1, 1]]]), torch.ones(1, 2, 4)

    assert losses.compete_loss(right, batch).item() == pytest.approx(0, abs=1e-4)
    assert losses.compete_loss(even, batch).item() == pytest.approx(math.log(2), abs=1e-4)
    # each thing has mass 1: a map ten times as strong wins no more
    strong = even * torch.tensor([10.0, 1.0])[None, :, None]
    assert losses.compete_loss(strong, batch).item() == pytest.approx(math.log(2), abs=1e-4)


def test_what_is_absent_or_alone_does_not_compete(training):
    batch = make_batch(training, [UPPER, EMPTY], [1, 0])

    assert training("losses").compete_loss(torch.rand(1, 2, 4), batch).item() == 0


def test_tokens_of_one_thing_are_to_be_alike_and_of_two_things_not(training):
    torch.manual_seed(0)
    batch, losses = make_batch(training, [UPPER, LOWER], [1, 1]), training("losses")
    apart = torch.tensor([[[1.0, 0], [1, 0], [0, 1], [0, 1]]])
    mixed = torch.tensor([[[1.0, 0], [0, 1], [1, 0], [0, 1]]])

    assert losses.affinity_loss(apart, batch).item() < 0.1
    assert losses.affinity_loss(mixed, batch).item() > 1


def test_two_names_of_one_thing_are_not_two_things(training):
    torch.manual_seed(0)
    batch, losses = make_batch(training, [UPPER, UPPER], [1, 1]), training("losses")

    alike = torch.tensor([[[1.0, 0], [1, 0], [0, 1], [0, 1]]])
    assert losses.affinity_loss(alike, batch).item() < 0.1


def test_what_is_called_absent_is_often_beside_what_is_there(training):
    """Concept 0 is there; 1 is beside it in three photos and 2 in one, 3 never."""
    samples = training("samples")
    sampler = samples.TextSampler.__new__(samples.TextSampler)
    together = np.array([[5, 3, 1, 0], [3, 3, 0, 0], [1, 0, 1, 0], [0, 0, 0, 9.0]])
    sampler.knowledge, sampler.random = SimpleNamespace(together=together), np.random.default_rng(0)

    drawn = [sampler._often_beside(samples.Photo(0, Path(), present={0: "x"})) for _ in range(900)]

    counts = np.bincount(drawn, minlength=4)
    assert counts[3] == 0
    assert counts[1] > 2 * counts[2] > 100


def test_targets_of_several_photos_are_those_of_each(training):
    pseudo = training("pseudo")
    torch.manual_seed(0)
    maps = [torch.rand(k, pseudo.GRID, pseudo.GRID) for k in (1, 3, 2)]
    guides, rivals = torch.rand(3, 3, pseudo.GUIDE_PX, pseudo.GUIDE_PX), [1, 2, 0]

    together = pseudo.targets(maps, guides, rivals)

    for i, own in enumerate(maps):
        alone = pseudo.targets([own], guides[i : i + 1], [rivals[i]])[0]
        assert together[i].shape == own.shape
        near(together[i], alone)


def test_rival_things_share_each_patch_and_others_need_not(training):
    pseudo = training("pseudo")
    maps = [torch.rand(2, pseudo.GRID, pseudo.GRID)]
    guides = torch.rand(1, 3, pseudo.GUIDE_PX, pseudo.GUIDE_PX)

    assert pseudo.targets(maps, guides, [2])[0].sum(0).max() <= 1 + 1e-4
    assert pseudo.targets(maps, guides, [0])[0].sum(0).max() > 1
