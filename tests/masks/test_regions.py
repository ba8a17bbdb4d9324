"""Regions, rims and what fills gaps, against SciPy on drawn masks."""

import numpy as np
import pytest
from scipy import ndimage

from pnp_ovss.masks.regions import grow, number_regions, shrink
from pnp_ovss.masks.specks import remove_specks


def drawn(seed: int, share: float = 0.55, size: tuple[int, int] = (37, 41)) -> np.ndarray:
    return np.random.default_rng(seed).random(size) < share


SPIRAL = np.array([[1, 1, 1, 1, 1], [0, 0, 0, 0, 1], [1, 1, 1, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]], dtype=bool)


@pytest.mark.parametrize(
    "mask", [drawn(1), drawn(2, 0.3), drawn(3, 0.7), SPIRAL, SPIRAL[::-1], drawn(4, 1.1), drawn(5, 0)]
)
def test_regions_are_those_of_scipy(mask):
    assert np.array_equal(number_regions(mask), ndimage.label(mask)[0])


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_rims_are_those_of_scipy(steps):
    mask = drawn(6, 0.1)
    kept = drawn(7, 0.9)
    assert np.array_equal(grow(mask, steps), ndimage.binary_dilation(mask, iterations=steps) if steps else mask)
    assert np.array_equal(shrink(kept, steps), ndimage.binary_erosion(kept, iterations=steps) if steps else kept)


def test_specks_take_the_label_of_what_is_next_to_them():
    labels = np.zeros((9, 12), dtype=np.uint16)
    labels[:, 6:] = 3
    labels[4, 2] = 7  # in the background
    labels[3:5, 8:10] = 9  # in region 3
    expected = np.where(np.arange(12) < 6, 0, 3) * np.ones((9, 1), dtype=int)
    cleaned = remove_specks(labels, 5)
    assert np.array_equal(cleaned, expected)
    assert cleaned.dtype == labels.dtype
