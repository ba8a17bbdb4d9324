"""From saved maps to labels as at the time they were saved, on any processor (tests/golden/maps.py)."""

import numpy as np
import pytest

from tests.golden.driver import photos
from tests.golden.maps import FILE, PHOTOS, ROWS, labels

pytest.importorskip("skimage")
LEAST = 0.999
"""Of each photo's pixels: where two scores are equal but for rounding, either may win."""


@pytest.fixture(scope="module")
def stored():
    with np.load(FILE) as file:
        return dict(file)


@pytest.mark.parametrize("name", PHOTOS)
def test_labels_of_saved_maps_are_as_they_were(name, stored):
    photo = dict(photos())[name]
    found = labels(photo, stored[f"{name}|maps"], stored[f"{name}|visible"])
    for row, ours, saved in zip(ROWS, found, stored[f"{name}|labels"], strict=True):
        assert (ours == saved).mean() >= LEAST, row


def test_every_row_is_another_one_and_shows_classes(stored):
    for name in PHOTOS:
        saved = stored[f"{name}|labels"]
        assert len({row.tobytes() for row in saved}) == len(ROWS), name
        assert all(len(np.unique(row)) > 1 for row in saved), name
