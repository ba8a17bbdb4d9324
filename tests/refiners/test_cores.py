"""What refining may not take away, against the definition in plain Python, and with refiners that take everything."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pnp_ovss.errors import RefinerError
from pnp_ovss.refiners import get_refiner, refine_photo
from pnp_ovss.refiners.cores import hold_cores


def looped_labels(scores, refined, share):
    """Labels (H, W) after holding the cores, one channel and one pixel at a time."""
    labels = refined.argmax(0)
    for channel in range(len(scores)):
        own = [tuple(pixel) for pixel in np.argwhere(scores.argmax(0) == channel)]
        least = math.ceil(share * len(own))
        if sum(refined.argmax(0)[pixel] == channel for pixel in own) >= least:
            continue
        lead = {pixel: np.subtract(*np.sort(scores[:, pixel[0], pixel[1]])[-1:-3:-1]) for pixel in own}
        for pixel in sorted(own, key=lead.get, reverse=True)[:least]:
            labels[pixel] = channel
    return labels


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 6), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**31), st.floats(0, 1))
def test_the_labels_are_those_of_the_definition(channels, height, width, seed, share):
    rng = np.random.default_rng(seed)
    scores = rng.random((channels, height, width), dtype=np.float32)
    refined = rng.random((channels, height, width), dtype=np.float32) ** 8
    refined[0] += 0.5 * rng.random()
    held = hold_cores(torch.from_numpy(scores), torch.from_numpy(refined), share)
    assert np.array_equal(held.argmax(0).numpy(), looped_labels(scores, refined, share))
    np.testing.assert_allclose(np.sort(held.numpy(), 0), np.sort(refined, 0), rtol=1e-4, err_msg="values are traded")


@pytest.fixture
def three_bands():
    """Scores (3, 10, 12): background, a band of 5 columns and one of 2, each clearest in its middle; equal colours."""
    scores = torch.full((3, 10, 12), 0.1)
    scores[0, :, :5] = 0.5
    scores[1, :, 5:10] = torch.tensor([0.3, 0.6, 0.9, 0.6, 0.3])
    scores[2, :, 10:] = torch.tensor([0.4, 0.8])
    return scores


class Swallowing:
    """Gives every pixel to one channel, with all other scores at `rest`."""

    name = "swallowing"

    def __init__(self, channel, highest=1.0, rest=0.0):
        self.channel, self.values = channel, (highest, rest)

    def refine(self, image, scores, evidence=None):
        refined = torch.full_like(scores, self.values[1])
        refined[self.channel] = self.values[0]
        return refined


PHOTO = np.full((10, 12, 3), 128, dtype=np.uint8)


@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize(("highest", "rest"), [(1.0, 0.0), (0.5, 0.5), (0.0, 0.0)])
def test_whatever_the_refiner_does_each_class_keeps_its_clearest_pixels(three_bands, channel, highest, rest):
    refiner = Swallowing(channel, highest, rest)
    before = refiner.refine(PHOTO, three_bands)
    labels = refine_photo(refiner, PHOTO, three_bands, keep=0.2).argmax(0)
    winner = int(before.argmax(0)[0, 0])
    core = {0: labels[:, :5] == 0, 1: labels[:, 7] == 1, 2: labels[:4, 11] == 2}
    for one, pixels in core.items():
        assert pixels.all() if one == winner or one else pixels.sum() == 10
    assert (labels != winner).sum() == sum({0: 10, 1: 10, 2: 4}[one] for one in range(3) if one != winner)


def test_off_it_is_the_refiner_alone(three_bands):
    refiner = get_refiner("densecrf")
    assert torch.equal(refine_photo(refiner, PHOTO, three_bands), refiner.refine(PHOTO, three_bands))
    swallowed = Swallowing(0).refine(PHOTO, three_bands)
    assert torch.equal(refine_photo(Swallowing(0), PHOTO, three_bands), swallowed)


def test_where_enough_is_left_nothing_changes_and_nothing_is_copied(three_bands):
    refined = three_bands.roll(1, 2)
    assert hold_cores(three_bands, refined, 0.5) is refined


def test_nothing_is_written_to(three_bands):
    refined = Swallowing(0).refine(PHOTO, three_bands)
    scores_before, refined_before = three_bands.clone(), refined.clone()
    held = hold_cores(three_bands, refined, 0.3)
    assert torch.equal(three_bands, scores_before)
    assert torch.equal(refined, refined_before)
    assert not torch.equal(held, refined)


def test_only_the_pixels_that_change_hands_change_their_values(three_bands):
    refined = Swallowing(0).refine(PHOTO, three_bands)
    refined[1:, 0, 7:] = torch.tensor([[0.9, 0.2, 0.2, 0.2, 0.2], [0.2, 0.2, 0.2, 0.2, 0.9]])
    refined[0, 0, 7:] = 0.5
    held = hold_cores(three_bands, refined, 0.1)
    changed = (held != refined).any(0)
    assert torch.equal(changed, held.argmax(0) != refined.argmax(0))
    assert changed.sum() == 4 + 1


def test_given_back_pixels_win_by_a_number_that_no_cpu_flushes(three_bands):
    held = hold_cores(three_bands, torch.zeros(3, 10, 12), 1.0)
    assert held.amax(0)[:, 5:].min() > torch.finfo(torch.float32).tiny


def test_a_class_that_won_nothing_before_gets_nothing(three_bands):
    scores = torch.cat([three_bands, torch.zeros(1, 10, 12)])
    assert 3 not in hold_cores(scores, Swallowing(0).refine(PHOTO, scores), 1.0).argmax(0)


def test_the_crf_alone_takes_the_narrow_class_away(three_bands):
    """What the mechanism is for: a mean field on one colour gives everything to the broad ones."""
    crf = get_refiner("densecrf")
    assert 2 not in crf.refine(PHOTO, three_bands).argmax(0)
    assert (refine_photo(crf, PHOTO, three_bands, keep=0.2).argmax(0) == 2).sum() == 4


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_0_to_1_is_an_error(three_bands, share):
    with pytest.raises(RefinerError, match="use 0 \\(off\\) to 1"):
        refine_photo(Swallowing(0), PHOTO, three_bands, keep=share)
