"""Foreground first, class second: by hand on small maps, and what it is for."""

import numpy as np
import pytest
import torch

from pnp_ovss import Segmenter, SegmenterConfig
from pnp_ovss.competition import equal_mass, let_all_lead, without_look_alikes
from pnp_ovss.errors import ConfigError
from pnp_ovss.postprocess import overlay
from pnp_ovss.testing.fake_vlm import FakeVLM
from tests.near import equal, near
from tests.scenes import BLUE, RED, two_squares
from tests.segmented import NAMES, interior

CONFIG = SegmenterConfig(competition="equal_mass", threshold=0.25, blur=0.0, share_blur=0.0, refine="none")
BROAD = torch.tensor([[0.0, 4, 4, 0], [0, 4, 6, 0], [0, 4, 4, 0], [0, 0, 0, 0]], dtype=torch.float64)
NARROW = torch.tensor([[0.0, 0, 0, 0], [0, 0, 3, 0], [0, 0, 0, 0], [0, 0, 0, 0]], dtype=torch.float64)


def test_by_hand_on_four_by_four():
    """Masses 26 and 3: in the shared patch 6/26 against 3/3, so the narrow class has it; around it the broad one."""
    scores, rows = equal_mass(torch.stack([BROAD, NARROW]), (4, 4), CONFIG)
    assert rows == (None, 0, 1)
    share = (6 / 26) / (6 / 26 + 1)
    expected = torch.zeros(3, 4, 4, dtype=torch.float64)
    expected[0] = (BROAD == 0).double()
    expected[1] = ((BROAD > 0) & (NARROW == 0)).double()
    expected[1, 1, 2] = share / (1 - share)  # w_0 / max w
    expected[2, 1, 2] = 1
    equal(scores, expected)
    stuff, rows = equal_mass(torch.stack([BROAD, NARROW]), (4, 4), CONFIG.replace(background="none"))
    assert rows == (0, 1)
    equal(stuff, expected[1:])


def test_a_blurred_foreground_of_less_than_one_half_is_background():
    scores, _ = equal_mass(torch.stack([BROAD, NARROW]), (40, 40), CONFIG.replace(blur=0.1))
    inside = 1 - scores[0]
    assert 0.1 < (inside > 1 / 2).float().mean() < (inside > 0.01).float().mean() - 0.1  # a soft edge
    assert ((scores[1:].amax(dim=0) > scores[0]) == (inside > 1 / 2)).all()


def test_overlay_loses_the_nested_class_and_equal_mass_keeps_it():
    maps = torch.stack([BROAD, NARROW])
    config = CONFIG.replace(competition="overlay", threshold=0.5)
    won = [
        set(s.argmax(dim=0).unique().tolist())
        for s in (overlay(maps, (4, 4), config)[0], equal_mass(maps, (4, 4), CONFIG)[0])
    ]
    assert won == [{0, 1}, {0, 1, 2}]


def test_a_pixel_is_foreground_where_any_map_is_on_its_own_scale_or_on_one():
    faint = torch.zeros(4, 4)
    faint[3, 0] = 1.0  # a sixth of the other's peak
    each, _ = equal_mass(torch.stack([BROAD, faint]), (4, 4), CONFIG)
    assert each[0, 3, 0] == 0
    one, _ = equal_mass(torch.stack([BROAD, faint]), (4, 4), CONFIG.replace(normalise="global"))
    assert one[0, 3, 0] == 1


def test_presence_weighs_the_mass():
    maps = torch.stack([BROAD, NARROW])
    for weights, winner in [((1.0, 1.0), 2), ((1.0, 0.2), 1), ((0.2, 0.2), 2)]:
        scores, _ = equal_mass(maps, (4, 4), CONFIG, weights)
        assert scores[:, 1, 2].argmax() == winner


def test_the_size_of_a_map_is_of_no_account():
    one, _ = equal_mass(torch.stack([BROAD, NARROW]), (4, 4), CONFIG)
    other, _ = equal_mass(torch.stack([BROAD * 100, NARROW / 7]), (4, 4), CONFIG)
    equal(one, other)


def test_maps_of_zeros_and_flat_ones():
    zero = torch.zeros(4, 4)
    assert equal_mass(torch.stack([zero, BROAD]), (4, 4), CONFIG)[1] == (None, 1)
    for maps in (torch.zeros(0, 1, 1), torch.stack([zero]), torch.stack([zero + 3])):
        scores, rows = equal_mass(maps, (5, 6), CONFIG)
        assert rows == (None,)
        assert scores.shape == (1, 5, 6)
    assert equal_mass(torch.stack([zero, zero]), (5, 6), CONFIG.replace(background="none"))[1] == (0, 1)
    assert equal_mass(torch.zeros(0, 1, 1), (5, 6), CONFIG.replace(background="none"))[1] == (None,)


def test_a_constant_background_and_one_that_belongs_elsewhere():
    scores, _ = equal_mass(torch.stack([BROAD]), (4, 4), CONFIG.replace(background=0.3))
    equal(scores[0], torch.full((4, 4), 0.3, dtype=torch.float64))
    with pytest.raises(ConfigError, match="zero_max"):
        CONFIG.replace(background="zero_max")


def test_scores_are_within_one_at_any_size_and_blur():
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(5, 7, 6, generator=generator)
    scores, rows = equal_mass(maps, (61, 47), CONFIG.replace(blur=0.05, share_blur=0.02))
    assert scores.shape == (6, 61, 47)
    assert rows == (None, 0, 1, 2, 3, 4)
    assert 0 <= float(scores.min()) <= float(scores.max()) <= 1 + 1e-4
    near(scores[0] + scores[1:].amax(dim=0), torch.ones(61, 47))


def test_the_whole_method_with_both_steps():
    image = two_squares()
    config = CONFIG.replace(layer=2, head=2, size_px=96, completion="affinity", drops=0)
    result = Segmenter(FakeVLM(), config)(image, NAMES)
    assert (result.labels[interior(image, RED)] == 1).all()
    assert (result.labels[interior(image, BLUE)] == 2).all()
    assert result.shares["green"] == 0
    assert result.labels[-5:, :20].max() == 0
    assert set(np.unique(result.labels)) == {0, 1, 2}


def test_shares_have_a_blur_of_their_own():
    maps = torch.zeros(2, 8, 8)
    maps[0, :, :4] = maps[1, :, 4:] = 1.0
    plain, _ = equal_mass(maps, (64, 64), CONFIG.replace(background="none"))
    for settings, unchanged in (({"blur": 0.1}, True), ({"share_blur": 0.1}, False)):
        found, _ = equal_mass(maps, (64, 64), CONFIG.replace(background="none", **settings))
        assert torch.allclose(found, plain, atol=1e-4) is unchanged


def test_a_class_that_is_nowhere_the_strongest_leads_in_one_patch():
    """Masses by hand: the broad one is beaten by a narrow one in the middle and by a second broad one around it."""
    other = torch.tensor([[0.0, 8, 8, 0], [0, 9, 1, 0], [0, 8, 8, 0], [0, 0, 0, 0]])
    covered = torch.tensor(
        [[0.0, 3, 3, 0], [0, 3, 8, 0], [0, 3, 3, 0], [0, 0, 0, 0]]
    )  # 8/23 against 3/3, 3/23 against 8/42
    maps = torch.stack([covered, other, NARROW])
    scores, _ = equal_mass(maps, (4, 4), CONFIG)
    labels = scores.argmax(dim=0)
    assert [int((labels == row).sum()) for row in range(4)] == [10, 1, 4, 1]
    assert labels[0, 1] == 1  # 3/23 of 8/42 is the nearest that it comes, first of four
    weighed, _ = equal_mass(maps, (4, 4), CONFIG, (0.2, 1.0, 1.0))
    assert (weighed.argmax(dim=0) != 1).all()  # a class that is hardly there may lose everything


def test_who_leads_at_few_pixels_keeps_them():
    """The third comes nearest at the two pixels of the second, which would have nothing left; it takes two of the first's."""
    masses = torch.zeros(3, 1, 10)
    masses[0, 0, :8], masses[1, 0, 8:] = 1.0, 1.0
    masses[2, 0] = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.1, 0.1, 0.1, 0.1, 0.9, 0.9])
    for pixels, led in ((2, [6, 2, 2]), (6, [4, 2, 4])):  # of what it would like it leaves the first a half
        leader = let_all_lead(masses, torch.ones(1, 10, dtype=torch.bool), pixels).argmax(dim=0)
        assert leader.flatten().bincount(minlength=3).tolist() == led


def test_every_class_leads_whatever_the_maps():
    random = torch.Generator().manual_seed(0)
    for _ in range(50):
        masses = torch.rand(7, 6, 6, generator=random) ** 4 * torch.rand(7, 1, 1, generator=random) ** 6
        inside = torch.rand(6, 6, generator=random) > 0.3
        leader = let_all_lead(masses, inside, 3).argmax(dim=0)
        assert leader[inside].bincount(minlength=7).min() > 0


def test_equal_maps_share():
    """Of two equal maps the first keeps all but a patch, on a grid and enlarged, and neither input is written to."""
    maps = torch.stack([BROAD, BROAD])
    before = maps.clone()
    for size, patch in [((4, 4), 1), ((8, 8), 4)]:
        labels = equal_mass(maps, size, CONFIG)[0].argmax(dim=0)
        assert int((labels == 2).sum()) == patch
        assert int((labels == 1).sum()) >= 5 * patch
    assert torch.equal(maps, before)


def test_of_look_alikes_the_surer_alone_stays():
    """Two rows of 2 and the second's corner raised to 4: their correlation by hand; the third map lies apart."""
    one, other, apart = torch.zeros(3, 4, 4, dtype=torch.float64)
    one[:2], other[:2] = 2, 2
    other[0, 0], apart[3] = 4, 5
    maps = torch.stack([one, other, apart])
    alike = float(np.corrcoef(one.flatten(), other.flatten())[0, 1])
    assert 0.8 < alike < 0.95
    assert without_look_alikes(maps, [0.6, 0.9, 0.1], alike - 1e-3) == [1, 2]
    assert without_look_alikes(maps, [0.6, 0.9, 0.1], alike + 1e-3) == [0, 1, 2]
    assert without_look_alikes(maps, [0.6, 0.9, 0.1], 1.0) == [0, 1, 2]
    assert without_look_alikes(maps, [0.9, 0.9, 0.1], 0.5) == [0, 2], "of two that are equally sure the first stays"
    assert without_look_alikes(maps, [0.6, None, 0.1], 0.5) == [0, 1, 2], "names that the caller is sure of stay"
    assert without_look_alikes(100 * maps + 7, [0.6, 0.9, 0.1], 0.5) == [1, 2], "neither level nor scale matters"
    assert without_look_alikes(torch.ones(2, 4, 4), [0.6, 0.9], 0.5) == [0, 1], "flat maps are like nothing"


def test_a_class_takes_a_place_only_while_it_stays():
    """A chain: the second is like the first and goes, the third is like the second alone and stays."""
    maps = torch.zeros(3, 1, 12, dtype=torch.float64)
    maps[0, 0, :4] = maps[1, 0, 1:5] = maps[2, 0, 3:7] = 1
    assert without_look_alikes(maps, [0.99, 0.9, 0.5], 0.2) == [0, 2]
