"""Label maps resized as Pillow does it and counted once for all that show shares."""

import numpy as np
import pytest
from PIL import Image

from pnp_ovss.masks.labels import class_shares, resize_nearest


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (40, 13), (3, 200)])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32, bool])
def test_each_pixel_is_the_nearest_old_one(size, dtype):
    labels = np.random.default_rng(0).integers(0, 60_000, (20, 31)).astype(dtype)
    resized = resize_nearest(labels, size)
    y, x = (((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(size, labels.shape, strict=True))
    assert resized.dtype == dtype
    assert np.array_equal(resized, labels[np.ix_(y, x)])
    pillow = Image.fromarray(labels.astype(np.int32)).resize(size[::-1], Image.Resampling.NEAREST)
    assert np.array_equal(resized, np.asarray(pillow).astype(dtype))


def test_the_same_size_is_the_same_array():
    labels = np.zeros((3, 4), dtype=np.uint16)
    assert resize_nearest(labels, (3, 4)) is labels


def test_shares_count_every_pixel_or_those_that_are_known():
    labels = np.array([[0, 1, 1, 9]])
    assert class_shares(np.array([[0, 1, 1, 2]]), ["a", "b", "c"]) == {"a": 0.5, "b": 0.25, "c": 0.0}
    assert class_shares(labels, ["a", "b"], void=9) == {"a": 2 / 3, "b": 0.0}
    assert class_shares(np.full((2, 2), 9), ["a"], void=9) == {"a": 0.0}
