"""Mean field against a dense numpy oracle with the same kernel matrix, the exact merge, and the corner cases."""

import dataclasses

import numpy as np
import pytest
import torch

from pnp_ovss.errors import RefinerError
from pnp_ovss.refiners import densecrf
from pnp_ovss.refiners.densecrf import DenseCRF
from pnp_ovss.refiners.permutohedral import build_lattice
from tests.near import equal, near, same_labels


@pytest.fixture(scope="module")
def picture():
    """A picture (24, 20, 3) uint8: a bright disc on a dark ramp, a little noise."""
    rng = np.random.default_rng(0)
    y, x = np.indices((24, 20))
    disc = (y - 11) ** 2 + (x - 8) ** 2 < 40
    image = 60 + 3 * x[..., None] + 70 * disc[..., None] * np.array([1, 0.6, 0.2]) + rng.normal(0, 3, (24, 20, 3))
    return image.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def scores(picture):
    """Scores (4, 24, 20): three smooth class maps and one that is 0 but for a corner."""
    y, x = np.indices(picture.shape[:2])
    centres = [(11, 8), (3, 15), (20, 16)]
    maps = [np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 50) for cy, cx in centres]
    return torch.tensor(np.stack([*maps, (y + x > 38) * 0.3]), dtype=torch.float32)


def kernel_matrix(features):
    """D^-1/2 K D^-1/2 (N, N) float64 of the lattice of `features` (d, N)."""
    matrix = build_lattice(features).filter(torch.eye(features.shape[1])).double().numpy()
    norm = 1 / np.sqrt(matrix.sum(1) + 1e-20)
    return norm[:, None] * matrix * norm


def softmax(logits):
    exponentials = np.exp(logits - logits.max(0))
    return exponentials / exponentials.sum(0)


def dense_mean_field(image, prior, crf):
    """Q (C, N) float64 by dense matrices: Krähenbühl and Koltun, algorithm 1, from the logarithm of a prior (C, N)."""
    y, x = np.indices(image.shape[:2]).reshape(2, -1)
    position = np.stack([x, y])
    colour = image.reshape(-1, 3).T / crf.bilateral_srgb
    bilateral = torch.tensor(np.concatenate([position / crf.bilateral_sxy, colour]), dtype=torch.float32)
    gaussian = torch.tensor(position / crf.gaussian_sxy, dtype=torch.float32)
    matrix = crf.gaussian_compat * kernel_matrix(gaussian) + crf.bilateral_compat * kernel_matrix(bilateral)
    q = softmax(prior)
    for _ in range(crf.iterations):
        q = softmax(prior + q @ matrix.T)
    return q


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"iterations": 0},
        {"iterations": 1},
        {"iterations": 20},
        {"temperature": 0.2},
        {"gaussian_compat": 0},
        {"bilateral_compat": 0},
        {"gaussian_compat": 0, "bilateral_compat": 0},
        {"gaussian_sxy": 1.7, "gaussian_compat": 3, "bilateral_sxy": 20, "bilateral_srgb": 13, "bilateral_compat": 4},
    ],
)
def test_mean_field_is_the_dense_one(picture, scores, options):
    crf = DenseCRF(**options)
    expected = dense_mean_field(picture, scores.double().flatten(1).numpy() / crf.temperature, crf)
    q = crf.refine(picture, scores).flatten(1).numpy()
    np.testing.assert_allclose(q, expected, atol=1e-4)
    assert np.abs(q.sum(0) - 1).max() < 1e-4


def test_probabilities_are_normalised_and_clipped(picture, scores):
    scores = scores.where(scores > 1e-3, 0)
    scores[:, :2] = 0
    crf = DenseCRF(unary="probabilities", iterations=20)
    total = scores.sum(0)
    share = torch.where(total > 0, scores / total, 1 / len(scores)).clamp(min=1e-5)
    expected = dense_mean_field(picture, np.log(share.double().flatten(1).numpy()), crf)
    np.testing.assert_allclose(crf.refine(picture, scores).flatten(1).numpy(), expected, atol=1e-4)


def test_a_probability_of_0_can_still_be_outvoted():
    """It is clipped to 1e-5: an energy of 11.5, less than the 17 of all neighbours together."""
    scores = torch.zeros(2, 24, 20)
    scores[1] = 1
    scores[:, 12, 10] = torch.tensor([1.0, 0.0])
    image = np.full((24, 20, 3), 128, dtype=np.uint8)
    assert (DenseCRF(unary="probabilities").refine(image, scores).argmax(0) == 1).all()


def test_many_channels_are_the_same_as_few(picture, scores):
    """More channels than are filtered at once."""
    many = torch.cat([scores] * 9) * torch.linspace(0.5, 1.5, 36)[:, None, None]
    assert len(many) > densecrf.CHANNELS_AT_ONCE
    expected = dense_mean_field(picture, many.double().flatten(1).numpy(), DenseCRF())
    np.testing.assert_allclose(DenseCRF().refine(picture, many).flatten(1).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("unary", ["softmax", "probabilities"])
@pytest.mark.parametrize("absent", [1, 2, 165])
def test_merged_absent_classes_change_nothing(picture, scores, unary, absent):
    padded = torch.cat([scores, torch.zeros(absent, *scores.shape[1:])])
    full = DenseCRF(unary=unary).refine(picture, padded)
    merged = DenseCRF(unary=unary, absent_classes=absent).refine(picture, scores)
    assert merged.shape == scores.shape
    torch.testing.assert_close(merged, full[:4], atol=1e-4, rtol=0)
    same_labels(merged.argmax(0), full.argmax(0), least=0.99)
    assert (full[4:].amax(0) <= full[:4].amin(0) + 1e-4).all()


def test_a_single_class_takes_everything(picture, scores):
    near(DenseCRF().refine(picture, scores[:1]), torch.ones(1, 24, 20))


def test_all_zero_scores_give_equal_probabilities(picture):
    for unary in ("softmax", "probabilities"):
        q = DenseCRF(unary=unary).refine(picture, torch.zeros(3, 24, 20))
        torch.testing.assert_close(q, torch.full_like(q, 1 / 3), atol=1e-4, rtol=0)


def test_on_one_colour_the_crf_only_smooths(scores):
    """A bilateral kernel without colour edges: a lone wrong pixel follows its surroundings."""
    image = np.full((24, 20, 3), 128, dtype=np.uint8)
    lone = torch.zeros(2, 24, 20)
    lone[0] = 1
    lone[:, 12, 10] = torch.tensor([0.0, 1.0])
    assert (DenseCRF().refine(image, lone).argmax(0) == 0).all()


def test_extreme_scores_stay_finite(picture, scores):
    q = DenseCRF(temperature=1e-4).refine(picture, scores * 1000)
    assert torch.isfinite(q).all()
    torch.testing.assert_close(q.sum(0), torch.ones(24, 20), atol=1e-4, rtol=0)


@pytest.mark.parametrize("channels", [4, 20])
def test_weights_beyond_what_exp_can_hold_stay_finite(picture, scores, channels):
    """Messages of a few hundred: exp of the logits alone would overflow float32."""
    scores = torch.cat([scores] * 5)[:channels]
    q = DenseCRF(gaussian_compat=150, bilateral_compat=150).refine(picture, scores)
    torch.testing.assert_close(q.sum(0), torch.ones(24, 20), atol=1e-4, rtol=0)


@pytest.mark.parametrize("channels", [1, 2, 15, 16, 30])
def test_the_softmax_of_rows_is_torchs(channels):
    logits = torch.randn(50, channels, generator=torch.Generator().manual_seed(channels)) * 5
    for shift in (0.0, 100.0):
        expected = torch.softmax(logits.double() + shift, 1)
        equal(densecrf.softmax_rows(logits.double() + shift), expected)
        near(densecrf.softmax_rows(logits + shift), expected.float())


def test_negative_scores_are_no_probabilities(picture, scores):
    with pytest.raises(RefinerError, match="needs scores of 0 or more"):
        DenseCRF(unary="probabilities").refine(picture, scores - 1)


def test_the_position_lattice_is_built_once_per_size_and_the_colour_lattice_once_per_picture(
    monkeypatch, picture, scores
):
    built = []
    monkeypatch.setattr(
        densecrf, "build_lattice", lambda features: built.append(len(features)) or build_lattice(features)
    )
    densecrf._gaussian_kernel.cache_clear()
    for _ in range(3):
        DenseCRF().refine(picture, scores)
    assert built == [2, 5, 5, 5]
    DenseCRF(gaussian_sxy=2).refine(picture, scores)
    DenseCRF().refine(picture.transpose(1, 0, 2), scores.transpose(1, 2))
    assert built == [2, 5, 5, 5, 2, 5, 2, 5]


def test_options_are_frozen_and_hashable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        DenseCRF().iterations = 3
    assert len({DenseCRF(), DenseCRF(), DenseCRF(iterations=3)}) == 2


def test_negligible_probabilities_are_flushed_before_they_turn_denormal(picture, monkeypatch):
    """A CPU multiplies denormal numbers several times slower: none may reach the lattice."""
    smallest = []
    original = densecrf.Lattice.filter

    def spy(lattice, values):
        smallest.append(float(values[values > 0].min()))
        return original(lattice, values)

    monkeypatch.setattr(densecrf.Lattice, "filter", spy)
    far = torch.zeros(2, 24, 20)
    far[0] = 80.0
    DenseCRF().refine(picture, far)
    assert min(smallest) > densecrf.NEGLIGIBLE_Q


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_device_of_the_scores_does_not_matter(picture, scores):
    expected = DenseCRF(absent_classes=3).refine(picture, scores)
    q = DenseCRF(absent_classes=3).refine(picture, scores.cuda())
    assert q.is_cuda
    torch.testing.assert_close(q.cpu(), expected, atol=1e-4, rtol=0)
