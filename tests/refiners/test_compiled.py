"""The compiled Dense CRF against the torch one, and its lattices against those of `permutohedral`."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from pnp_ovss.refiners.densecrf import DenseCRF
from pnp_ovss.refiners.permutohedral import build_lattice
from pnp_ovss.testing.refiner_contract import picture, random_scores
from tests.near import same_labels

pytest.importorskip("numba", reason="needs numba: pip install '.[fast]'")

from pnp_ovss.refiners import compiled_field, compiled_lattice, rows
from pnp_ovss.refiners.compiled import CompiledCRF


def scene(height, width, channels):
    """Colour waves with a little noise (H, W, 3) and a blob a channel (channels, H, W)."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(y / 9 + i) * np.cos(x / (7 + 2 * i)) for i in range(3)], 2)
    image = (128 + 90 * waves + picture(height, width) % 12).clip(0, 255).astype(np.uint8)
    centres = np.random.default_rng(channels).random((channels, 2)) * (height, width)
    blobs = [np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (0.3 * max(height, width)) ** 2) for cy, cx in centres]
    return image, torch.tensor(np.stack(blobs), dtype=torch.float32)


def as_torchs(image, scores, **options):
    """The compiled Q, once it is found to be that of torch."""
    q, expected = CompiledCRF(**options).refine(image, scores), DenseCRF(**options).refine(image, scores)
    torch.testing.assert_close(q, expected, atol=1e-3, rtol=0)
    assert (q - expected).abs().mean() < 1e-4
    same_labels(q.argmax(0), expected.argmax(0), least=0.999)
    return q


@pytest.mark.parametrize("size", [(1, 61), (53, 1), (3, 5), (60, 83), (97, 128)])
@pytest.mark.parametrize("channels", [2, 3, 4, 5, 8, 9, 16, 17, 40])
def test_it_is_the_torch_crf(size, channels):
    as_torchs(*scene(*size, channels))


@pytest.mark.parametrize(
    "options",
    [
        {"absent_classes": 1},
        {"absent_classes": 165},
        {"iterations": 0},
        {"iterations": 1},
        {"unary": "probabilities", "iterations": 20},
        {"temperature": 0.1},
        {"gaussian_compat": 0},
        {"bilateral_compat": 0},
        {"gaussian_compat": 0, "bilateral_compat": 0},
        {"gaussian_sxy": 1.7, "gaussian_compat": 3, "bilateral_sxy": 20, "bilateral_srgb": 13, "bilateral_compat": 4},
    ],
)
@pytest.mark.parametrize("channels", [1, 4, 20])
def test_options_mean_the_same(options, channels):
    as_torchs(*scene(40, 50, channels), **options)


def test_equal_channels_stay_equal_to_the_last_bit():
    image, scores = scene(60, 83, 3)
    q = CompiledCRF().refine(image, scores[[0, 1, 0, 2, 0]])
    assert torch.equal(q[0], q[2])
    assert torch.equal(q[0], q[4])


def test_negligible_probabilities_are_0():
    far = torch.zeros(2, 24, 20)
    far[0] = 80.0
    q = CompiledCRF().refine(picture(24, 20), far)
    assert (q[1] == 0).all()
    assert (q[0] == 1).all()


def one_lattice(features):
    """Vertices, barycentric coordinates up to a factor a vector, and neighbours."""
    found = compiled_lattice.build_lattices([features.numpy()], [1.0])
    count = features.shape[1]
    weights = torch.from_numpy(found.weights[:count])
    return found.vertices[:count], weights / weights.sum(1, keepdim=True), found.links[0][1]


def assert_same_lattice(features):
    vertices, weights, links = one_lattice(features)
    expected = build_lattice(features)
    pairs = np.unique(np.stack([vertices.ravel(), expected.vertices.numpy().ravel()]), axis=1)
    count = expected.neighbours.shape[1]
    assert pairs.shape[1] == links.shape[1] == count, "each point is one of torch's"
    torch.testing.assert_close(weights, expected.weights, atol=1e-4, rtol=0)
    number = np.full(count + 1, count)
    number[pairs[0]] = pairs[1]
    for ours, theirs in zip(links, expected.neighbours.numpy(), strict=True):
        assert np.array_equal(number[ours], theirs[number[:count]])


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5])
@pytest.mark.parametrize("spread", [0.05, 1.0, 30.0])
def test_the_lattice_is_torchs(dimensions, spread):
    assert_same_lattice(torch.randn(dimensions, 700, generator=torch.Generator().manual_seed(dimensions)) * spread)


def test_a_lattice_of_many_points_outgrows_its_first_table():
    assert_same_lattice(torch.randn(5, 12_000, generator=torch.Generator().manual_seed(0)) * 30)


def test_what_cannot_be_numbered_or_would_take_more_memory_is_left_to_torch(monkeypatch):
    assert compiled_lattice.build_lattices([np.float32([[0, 1e6]] * 5)], [1.0]) is None
    image, scores = picture(13, 19), random_scores(20, 13, 19)
    monkeypatch.setattr(CompiledCRF, "_mean_field", None)
    assert torch.equal(CompiledCRF().refine(image, scores), DenseCRF().refine(image, scores))


def test_without_a_folder_for_its_cache_it_is_compiled_all_the_same(monkeypatch):
    from numba.core import caching

    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    assert rows.jit(lambda number: number + 1)(2) == 3


FROM_CACHE = """
import numpy as np, torch
from pnp_ovss.refiners import compiled_field, compiled_lattice, get_refiner
get_refiner("densecrf-compiled").refine(np.zeros((9, 9, 3), np.uint8), torch.rand(2, 9, 9))
kernels = [*compiled_field.kernels_for(4), compiled_lattice._occupy, compiled_lattice._link]
print("compiled:", sum(sum(kernel.stats.cache_misses.values()) for kernel in kernels))
"""


def test_the_next_process_finds_all_kernels_in_the_cache():
    CompiledCRF().refine(*scene(9, 9, 2))
    if compiled_field.kernels_for(4)[1].stats.cache_path is None:
        pytest.skip("numba has no folder for its cache here")
    done = subprocess.run([sys.executable, "-c", FROM_CACHE], capture_output=True, text=True, check=True)
    assert "compiled: 0" in done.stdout
