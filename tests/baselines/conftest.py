"""A small random CLIP and pictures of two colours."""

import numpy as np
import pytest

from tests.tuning.test_scorers import clip_folder  # noqa: F401  (a fixture)


@pytest.fixture
def two_halves():
    """Left red, right blue: (32, 48, 3) uint8."""
    image = np.zeros((32, 48, 3), np.uint8)
    image[:, :24, 0] = 255
    image[:, 24:, 2] = 255
    return image


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
