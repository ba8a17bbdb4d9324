"""PAMR against its definition, one pixel and one neighbour at a time."""

import numpy as np
import pytest
import torch

from pnp_ovss.refiners.pamr import PAMR, affinity
from tests.near import near


def looped_pamr(image, scores, iterations, dilations, bandwidth):
    """PAMR of scores (C, H, W) by plain loops in float64."""
    height, width = image.shape[:2]
    image = image.astype(float) / 255

    def at(y, x, step, dy, dx):
        return min(max(y + step * dy, 0), height - 1), min(max(x + step * dx, 0), width - 1)

    window = [(step, dy, dx) for step in dilations for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    around = [offset for offset in window if offset[1:] != (0, 0)]
    scores = scores.astype(float)
    for _ in range(iterations):
        refined = np.zeros_like(scores)
        for y in range(height):
            for x in range(width):
                deviation = np.std([image[at(y, x, *offset)] for offset in window], axis=0, ddof=1)
                places = [at(y, x, *offset) for offset in around]
                distances = np.array([np.abs(image[y, x] - image[place]) for place in places])
                weights = np.exp(-(distances / (1e-8 + bandwidth * deviation)).mean(1))
                weights /= weights.sum()
                refined[:, y, x] = sum(w * scores[:, py, px] for w, (py, px) in zip(weights, places, strict=True))
        scores = refined
    return scores


@pytest.mark.parametrize(
    ("height", "width", "iterations", "dilations", "bandwidth"),
    [(9, 7, 1, (1,), 0.1), (9, 7, 3, (1, 2, 5), 0.1), (1, 8, 2, (1, 12), 0.3), (6, 6, 10, (1, 2, 4, 8, 12, 24), 0.1)],
)
def test_pamr_is_its_definition(height, width, iterations, dilations, bandwidth):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    scores = rng.random((3, height, width))
    expected = looped_pamr(image, scores, iterations, dilations, bandwidth)
    refiner = PAMR(iterations=iterations, dilations_px=dilations, bandwidth=bandwidth)
    np.testing.assert_allclose(refiner.refine(image, torch.tensor(scores)).numpy(), expected, atol=1e-4)


def test_the_weights_of_a_picture_of_one_colour_are_equal():
    shares = affinity(torch.full((3, 9, 7), 0.3), (1, 2), 0.1)
    near(shares, torch.full((16, 9, 7), 1 / 16))


def test_scores_do_not_cross_a_sharp_edge_and_spread_within_it():
    image = np.zeros((30, 40, 3), dtype=np.uint8)
    image[:, 20:] = 200
    scores = torch.zeros(1, 30, 40)
    scores[0, 10:20, 5:15] = 1
    refined = PAMR().refine(image, scores)[0]
    assert refined[:, 20:].max() < 0.02
    assert refined[15, 18] > 5 * refined[15, 21]


def test_no_rounds_change_nothing():
    scores = torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(PAMR(iterations=0).refine(np.zeros((5, 6, 3), dtype=np.uint8), scores), scores)


def test_scores_stay_within_their_range():
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
    scores = torch.rand(3, 20, 20, generator=torch.Generator().manual_seed(0))
    refined = PAMR().refine(image, scores)
    assert (refined.amin((1, 2)) >= scores.amin((1, 2)) - 1e-4).all()
    assert (refined.amax((1, 2)) <= scores.amax((1, 2)) + 1e-4).all()
