"""Our run lengths are COCO's: the same text as pycocotools, and back again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pnp_ovss.masks.rasterise import rasterise
from pnp_ovss.masks.rle import compress_counts, decode_counts, encode_labels, encode_mask

sides = st.integers(1, 40)
masks = st.tuples(sides, sides).flatmap(lambda shape: arrays(bool, shape))


def _oracle(mask: np.ndarray) -> str:
    coco = pytest.importorskip("pycocotools.mask")
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


@given(masks)
def test_same_text_as_pycocotools(mask):
    assert encode_mask(mask) == {"size": list(mask.shape), "counts": _oracle(mask)}


@given(masks)
def test_decodes_to_the_mask(mask):
    assert (rasterise(encode_mask(mask), *mask.shape) == mask).all()


@given(st.tuples(sides, sides).flatmap(lambda shape: arrays(np.uint16, shape, elements=st.integers(0, 4))))
def test_all_labels_at_once_equal_one_mask_each(labels):
    present = [int(label) for label in np.unique(labels) if label]
    assert encode_labels(labels) == {label: _oracle(labels == label) for label in present}


@pytest.mark.parametrize("value", [False, True])
def test_masks_of_one_value(value):
    mask = np.full((7, 5), value)
    assert encode_mask(mask)["counts"] == _oracle(mask)


def test_runs_of_a_large_photo():
    mask = np.zeros((4000, 6000), dtype=bool)
    mask[10:3990, 3:5990] = True
    mask[2000, 3000] = False
    assert encode_mask(mask)["counts"] == _oracle(mask)
    assert encode_labels(mask.astype(np.uint16)) == {1: _oracle(mask)}


def test_differences_of_either_sign_and_any_length():
    runs = np.array([3, 100_000_000, 1, 5, 99_999_999, 31, 1, 16, 32, 2**31])
    assert decode_counts(compress_counts(runs)) == runs.tolist()
