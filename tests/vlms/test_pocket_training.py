"""The formulas of training/: packed texts against the model itself, losses and holes by hand."""

import math

import numpy as np
import pytest
import torch

from pnp_ovss.vlms.encoders.pocket_model import PocketConfig, PocketModel


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
        masked=torch.ones(1, count, dtype=torch.bool) if masked is None else torch.tensor([masked]),
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
            torch.testing.assert_close(found[k], alone[0], rtol=1e-4, atol=1e-5)


HALF = [[1.0, 1.0], [0.0, 0.0]]
EMPTY = [[0.0, 0.0], [0.0, 0.0]]


def test_the_absent_loss_is_minus_log_of_the_share_on_what_is_there(training):
    batch = make_batch(training, [HALF, EMPTY], [1, 0])
    cams = torch.tensor([[[3.0, 0, 0, 0], [0, 0, 0, 1.0]]])  # 3 on what is there, 1 on what is not

    found = training("losses").absent_loss(cams, batch)

    assert found.item() == pytest.approx(-math.log(3 / 4), abs=1e-6)


def test_the_absent_loss_has_nothing_to_say_of_a_list_of_one_kind(training):
    batch = make_batch(training, [HALF, HALF], [1, 1])

    assert training("losses").absent_loss(torch.rand(1, 2, 4), batch).item() == 0


def test_the_cover_loss_is_near_zero_on_the_target_and_high_beside_it(training):
    batch = make_batch(training, [HALF], [1])
    losses = training("losses")
    on, beside = torch.tensor([[[5.0, 5, 0, 0]]]), torch.tensor([[[0.0, 0, 5, 5]]])

    # beyond a fifth of the peak: sigmoid(16) = 1 there, sigmoid(-4) = 0.018 elsewhere
    said = 2 * 1 / (1 + math.exp(-16)) + 2 * 1 / (1 + math.exp(4))
    assert losses.cover_loss(on, batch).item() == pytest.approx(1 - (2 * 2 + 1) / (said + 2 + 1), abs=1e-4)
    overlap = (2 * 2 / (1 + math.exp(4)) + 1) / (said + 2 + 1)
    assert losses.cover_loss(beside, batch).item() == pytest.approx(1 - overlap, abs=1e-4)


def test_holes_take_the_top_half_of_the_targets_in_each_round(training):
    masks = np.zeros((1, 8, 8), np.float32)
    masks[0, :4] = 1.0  # the upper half is the thing
    batch = make_batch(training, masks.tolist(), [1])
    left = {int(training("batches").kept_patches(batch, np.random.default_rng(seed)).sum()) for seed in range(30)}

    assert left == {32, 16, 8, 4}
    kept = training("batches").kept_patches(batch, np.random.default_rng(0))[0]
    assert kept[:4].sum() == 0


def test_matching_is_unknown_where_a_name_is_in_doubt(training):
    batches = training("batches")
    batch = make_batch(training, [HALF, EMPTY, HALF], [1, 0, 1])
    owners = batches.name_owners(batch)

    sure = batches.match_targets(batch, owners, torch.tensor([[True, True, True]]))
    doubt = batches.match_targets(batch, owners, torch.tensor([[True, True, False]]))

    assert sure[0, 0].item() == pytest.approx(2 / 3)
    assert doubt.isnan().all()


def test_a_stage_takes_over_weights_at_another_scale_of_the_evidence(training, tmp_path):
    config = PocketConfig(vocabulary=50, width=32, layers=2, heads=2, feed_forward=64)
    before, after = PocketModel(config), PocketModel(config)
    torch.save({"model": before.state_dict(), "recipe": {"scale": 4.0}}, tmp_path / "checkpoint.pt")

    training("train").take_over(after, tmp_path / "checkpoint.pt", 8.0)

    old, new = (model.text_encoder.encoder.layer for model in (before, after))
    torch.testing.assert_close(new[0].crossattention.self.query.weight * 2, old[0].crossattention.self.query.weight)
    torch.testing.assert_close(new[1].crossattention.self.query.weight, old[1].crossattention.self.query.weight)
    torch.testing.assert_close(new[0].crossattention.self.key.weight, old[0].crossattention.self.key.weight)


def test_flat_peaks(training):
    found = training("pseudo").flat_peaks(torch.tensor([[4.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    assert found.tolist() == [[1.0, 0.5, 0.0], [0.0, 0.0, 0.0]]


def test_targets_of_several_photos_are_those_of_each(training):
    pseudo = training("pseudo")
    torch.manual_seed(0)
    maps = [torch.rand(k, pseudo.GRID, pseudo.GRID) for k in (1, 3, 2)]
    guides, rivals = torch.rand(3, 3, pseudo.GUIDE_PX, pseudo.GUIDE_PX), [1, 2, 0]

    together = pseudo.targets(maps, guides, 0.4, rivals)

    for i, own in enumerate(maps):
        alone = pseudo.targets([own], guides[i : i + 1], 0.4, [rivals[i]])[0]
        assert together[i].shape == own.shape
        torch.testing.assert_close(together[i], alone)


def test_rival_things_share_each_patch_and_others_need_not(training):
    pseudo = training("pseudo")
    maps = [torch.rand(2, pseudo.GRID, pseudo.GRID)]
    guides = torch.rand(1, 3, pseudo.GUIDE_PX, pseudo.GUIDE_PX)

    assert pseudo.targets(maps, guides, 0.4, [2])[0].sum(0).max() <= 1 + 1e-5
    assert pseudo.targets(maps, guides, 0.4, [0])[0].sum(0).max() > 1


class NoData:
    """What a run needs of its batches to be saved."""

    def randoms(self):
        return [np.random.default_rng(0)]


def test_a_run_goes_on_only_with_its_own_recipe(training, tmp_path):
    train = training("train")
    config = PocketConfig(vocabulary=50, width=32, layers=2, heads=2, feed_forward=64)
    saved = train.Run(train.WORDS, PocketModel(config), NoData(), tmp_path)
    saved.step = 7
    saved.save()

    again = train.Run(train.WORDS, PocketModel(config), NoData(), tmp_path)
    again.resume()
    assert again.step == 7
    for one, other in zip(saved.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(SystemExit, match="use another --work"):
        train.Run(train.replace(train.WORDS, seed=1), PocketModel(config), NoData(), tmp_path).resume()
