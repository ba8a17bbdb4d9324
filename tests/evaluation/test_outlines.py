"""The boundary F-score against its definition pixel by pixel, and on masks whose score is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pnp_ovss.datasets.base import VOID
from pnp_ovss.evaluation.outlines import boundary_scores, near, outline


def square(top, left, side=20, size=(60, 80), label=1):
    labels = np.zeros(size, dtype=np.int32)
    labels[top : top + side, left : left + side] = label
    return labels


def looped_scores(truth, labels, tolerance):
    """The scores by plain loops over pairs of outline pixels."""

    def looped_outline(array, label):
        pixels = []
        for y, x in np.argwhere((array == label) & (truth != VOID)):
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                inside = 0 <= v < array.shape[0] and 0 <= u < array.shape[1]
                if inside and truth[v, u] != VOID and array[v, u] != label:
                    pixels.append((y, x))
                    break
        return np.array(pixels, dtype=float).reshape(-1, 2)

    radius, scores = tolerance * np.hypot(*truth.shape), {}
    for label in set(truth.ravel().tolist()) - {0, VOID}:
        true, found = looped_outline(truth, label), looped_outline(labels, label)
        if len(true):
            distances = np.linalg.norm(true[:, None] - found[None], axis=2) <= radius
            p, r = (distances.any(0).mean(), distances.any(1).mean()) if len(found) else (0, 0)
            scores[label] = 2 * p * r / (p + r) if p + r else 0.0
    return scores


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**31), st.floats(0, 0.4))
def test_the_scores_are_those_of_the_definition(height, width, seed, tolerance):
    rng = np.random.default_rng(seed)
    truth = rng.choice([0, 1, 2, VOID], (height, width), p=[0.4, 0.3, 0.2, 0.1]).astype(np.int32)
    labels = rng.integers(0, 3, (height, width)).astype(np.uint16)
    expected = looped_scores(truth, labels, tolerance)
    assert boundary_scores(truth, labels, tolerance=tolerance) == pytest.approx(expected)


def test_a_mask_inside_the_tolerance_is_perfect_and_one_outside_is_not():
    truth = square(20, 20)
    assert boundary_scores(truth, truth) == {1: 1.0}
    assert boundary_scores(truth, square(20, 21), tolerance=0.02) == {1: 1.0}
    assert boundary_scores(truth, square(20, 21), tolerance=0.005)[1] < 0.6
    assert boundary_scores(truth, square(0, 60, 15)) == {1: 0.0}


def test_a_blob_of_the_same_iou_has_a_worse_outline():
    truth, ragged = square(10, 10, 40), square(10, 10, 40)
    ragged[10:50:4, 10:50] = 0
    shrunken = square(10, 10, 35)
    assert (ragged == 1).sum() <= (shrunken == 1).sum()
    assert boundary_scores(truth, ragged, tolerance=0.01)[1] < 0.8
    assert boundary_scores(truth, truth, tolerance=0.01)[1] == 1


def test_classes_that_are_missed_count_and_those_not_shown_do_not():
    truth = np.where(square(5, 5) == 1, 1, square(35, 50, label=2))
    assert boundary_scores(truth, np.where(truth == 2, 3, truth)) == {1: 1.0, 2: 0.0}


def test_outlines_under_void_are_not_looked_for():
    ringed = square(20, 20)
    ringed[18:42, 18:42] = np.where(square(20, 20)[18:42, 18:42] == 1, 1, VOID)
    assert boundary_scores(ringed, square(20, 20)) == {}
    assert not outline(ringed == 1, ringed != VOID).any()


def test_the_border_of_the_picture_is_no_outline():
    assert boundary_scores(np.ones((5, 7), dtype=np.int32), np.zeros((5, 7), dtype=np.uint16)) == {}


def test_near_is_a_disc():
    mask = np.zeros((21, 31), dtype=bool)
    mask[10, 15] = True
    y, x = np.indices(mask.shape)
    for radius in (0, 1, 2.5, 5, 40):
        assert np.array_equal(near(mask, radius), np.hypot(y - 10, x - 15) <= radius)


def test_unequal_shapes_are_an_error():
    with pytest.raises(ValueError, match="prediction of shape"):
        boundary_scores(np.zeros((2, 3), dtype=np.int32), np.zeros((3, 2), dtype=np.int32))
