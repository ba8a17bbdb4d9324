"""Probabilities against pydensecrf2 on photos: `make crf-oracle` (not in every run: it takes minutes to compile)."""

import zlib

import numpy as np
import pytest
import torch

from pnp_ovss.refiners import get_refiner

pytest.importorskip("pydensecrf", reason="needs pydensecrf2, compiled with g++: make crf-oracle")
pytest.importorskip("skimage", reason="needs scikit-image's photos: pip install '.[demo]'")

PHOTOS = [
    ("astronaut", 512, 512),
    ("coffee", 480, 640),
    ("motorcycle", 480, 640),
    ("chelsea", 211, 317),
    ("rocket", 1, 640),
    ("retina", 333, 1),
]


def photo(name, height, width):
    from skimage import data, transform

    image = data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(data, name)()
    return (transform.resize(image[..., :3], (height, width), order=1, anti_aliasing=True) * 255).astype(np.uint8)


def class_maps(channels, height, width, seed):
    """Scores (channels, H, W) in [0, 1] as class maps are: blobs with a peak of 1, and the complement in channel 0."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    scores = torch.zeros(channels, height, width)
    for channel in range(1, channels):
        centre, radius = rng.random(2) * (height, width), max(height, width) * rng.uniform(0.05, 0.3)
        blob = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / radius**2)
        scores[channel] = torch.from_numpy(blob * rng.uniform(0.3, 1))
    scores[0] = (1 - scores.sum(0)).clamp(min=0)
    return scores


def assert_agree(ours, reference, least_share=0.999):
    share = (ours.argmax(0) == reference.argmax(0)).double().mean().item()
    difference = (ours - reference).abs().max().item()
    print(f"argmax equal on {100 * share:.4f} % of the pixels, max |ΔQ| {difference:.1e}")
    assert share >= least_share
    assert difference <= 1e-3


@pytest.mark.parametrize("channels", [2, 5, 21])
@pytest.mark.parametrize("case", PHOTOS, ids=lambda case: f"{case[0]}-{case[1]}x{case[2]}")
def test_probabilities_are_those_of_pydensecrf(case, channels):
    scores = class_maps(channels, *case[1:], seed=zlib.crc32(repr((case, channels)).encode()))
    image = photo(*case)
    assert_agree(get_refiner("densecrf").refine(image, scores), get_refiner("densecrf-reference").refine(image, scores))


@pytest.mark.slow
@pytest.mark.parametrize("channels", [59, 171])
@pytest.mark.parametrize("case", PHOTOS[:2] + PHOTOS[3:5], ids=lambda case: f"{case[0]}-{case[1]}x{case[2]}")
def test_probabilities_of_large_vocabularies_are_those_of_pydensecrf(case, channels):
    test_probabilities_are_those_of_pydensecrf(case, channels)


@pytest.mark.parametrize(
    "options",
    [
        {"unary": "probabilities", "iterations": 20},
        {"temperature": 0.1},
        {"gaussian_compat": 3, "gaussian_sxy": 1.5, "bilateral_sxy": 80, "bilateral_srgb": 13, "bilateral_compat": 4},
    ],
)
def test_options_mean_the_same(options):
    image, scores = photo("coffee", 300, 400), class_maps(5, 300, 400, seed=1)
    ours = get_refiner("densecrf", **options).refine(image, scores)
    assert_agree(ours, get_refiner("densecrf-reference", **options).refine(image, scores))


@pytest.mark.slow
def test_165_absent_classes_merge_into_one_channel():
    """Labels of 6 live classes of 171 with one merged channel, against all 171 channels in pydensecrf."""
    image, scores = photo("coffee", 480, 640), class_maps(6, 480, 640, seed=2)
    ours = get_refiner("densecrf", absent_classes=165).refine(image, scores)
    reference = get_refiner("densecrf-reference", absent_classes=165).refine(image, scores)
    assert_agree(ours, reference)
    assert torch.equal(ours.argmax(0), reference.argmax(0))
