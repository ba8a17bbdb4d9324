import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pnp_ovss.datasets import VOID
from pnp_ovss.evaluation.metrics import compute, empty_confusion, update

CLASSES = 3


def label_maps(*extra: int):
    return arrays.arrays(np.int32, (4, 5), elements=st.sampled_from([*range(CLASSES + 1), *extra]))


def brute_force_iou(truths, predictions, label: int) -> float:
    """IoU of one label over several images, pixel by pixel."""
    both = either = 0
    for truth, prediction in zip(truths, predictions, strict=True):
        for actual, predicted in zip(truth.ravel(), prediction.ravel(), strict=True):
            if actual == VOID:
                continue
            both += actual == predicted == label
            either += label in (actual, predicted)
    return both / either if either else math.nan


def confusion_of(truths, predictions, **options):
    total = empty_confusion(CLASSES)
    for truth, prediction in zip(truths, predictions, strict=True):
        total = update(total, truth, prediction, **options)
    return total


@settings(deadline=None, max_examples=60)
@given(pairs=st.lists(st.tuples(label_maps(VOID), label_maps()), min_size=1, max_size=4))
def test_ious_against_brute_force(pairs):
    truths, predictions = zip(*pairs, strict=True)
    metrics = compute(confusion_of(truths, predictions), background=True)
    expected = np.array([brute_force_iou(truths, predictions, label) for label in range(CLASSES + 1)])
    assert np.allclose(metrics.per_class, expected, equal_nan=True)
    if not np.isnan(expected).all():
        assert metrics.miou == pytest.approx(np.nanmean(expected))
    if not np.isnan(expected[1:]).all():
        assert metrics.miou_without_background == pytest.approx(np.nanmean(expected[1:]))


@settings(deadline=None, max_examples=40)
@given(pairs=st.lists(st.tuples(label_maps(VOID), label_maps()), min_size=2, max_size=6), cut=st.integers(1, 5))
def test_merging_shards_equals_one_run(pairs, cut):
    truths, predictions = zip(*pairs, strict=True)
    parts = [confusion_of(truths[part], predictions[part]) for part in (slice(None, cut), slice(cut, None))]
    assert np.array_equal(sum(parts), confusion_of(truths, predictions))


@settings(deadline=None, max_examples=40)
@given(truth=label_maps(VOID), prediction=label_maps())
def test_accuracies_against_brute_force(truth, prediction):
    metrics = compute(confusion_of([truth], [prediction]), background=True)
    known = truth != VOID
    if not known.any():
        assert math.isnan(metrics.pixel_accuracy)
        return
    assert metrics.pixel_accuracy == pytest.approx((truth == prediction)[known].mean())
    recalls = [(prediction[truth == label] == label).mean() for label in np.unique(truth[known])]
    assert metrics.mean_accuracy == pytest.approx(np.mean(recalls))
    weights = [(truth == label).sum() / known.sum() for label in range(CLASSES + 1)]
    expected = np.nansum([w * i for w, i in zip(weights, metrics.per_class, strict=True)])
    assert metrics.frequency_weighted_iou == pytest.approx(expected)


def test_by_hand():
    truth = np.array([[0, 0, 1, 1], [2, 2, VOID, VOID]])
    prediction = np.array([[0, 1, 1, 1], [2, 0, 2, 3]])
    metrics = compute(confusion_of([truth], [prediction]), background=True)
    # 0: 1 of {0 0, its prediction at row 1}; 1: 2 of 3; 2: 1 of 2; 3: predicted on void only, so nowhere
    assert metrics.per_class[:3].tolist() == pytest.approx([1 / 3, 2 / 3, 1 / 2])
    assert math.isnan(metrics.per_class[3])
    assert metrics.miou == pytest.approx(1 / 2)
    assert metrics.miou_without_background == pytest.approx(7 / 12)
    assert metrics.pixel_accuracy == pytest.approx(4 / 6)
    assert metrics.mean_accuracy == pytest.approx((1 / 2 + 1 + 1 / 2) / 3)
    assert metrics.frequency_weighted_iou == pytest.approx((1 / 3 + 2 / 3 + 1 / 2) / 3)


def test_void_can_count_as_background():
    truth = np.array([[VOID, VOID, 1]])
    prediction = np.array([[0, 2, 1]])
    confusion = confusion_of([truth], [prediction], void="background")
    assert confusion[0].tolist() == [1, 0, 1, 0]
    assert compute(confusion, background=True).per_class[:3].tolist() == pytest.approx([1 / 2, 1, 0])


def test_without_background_label_0_is_no_class_but_still_a_miss():
    truth = np.array([[1, 1, 2, 2]])
    prediction = np.array([[1, 0, 2, 2]])
    metrics = compute(confusion_of([truth], [prediction]), background=False)
    assert math.isnan(metrics.per_class[0])
    assert metrics.miou == metrics.miou_without_background == pytest.approx((1 / 2 + 1) / 2)
    assert metrics.pixel_accuracy == pytest.approx(3 / 4)


def test_a_restriction_to_classes_keeps_the_errors_of_the_others():
    truth = np.array([[1, 2, 2, 3]])
    prediction = np.array([[1, 1, 2, 3]])
    confusion = confusion_of([truth], [prediction])
    assert compute(confusion, background=False, classes=(1,)).miou == pytest.approx(1 / 2)
    assert compute(confusion, background=False, classes=(1, 3)).miou == pytest.approx((1 / 2 + 1) / 2)


def test_arguments_are_not_changed():
    confusion, truth, prediction = empty_confusion(2), np.array([[1, VOID]]), np.array([[2, 2]])
    update(confusion, truth, prediction, void="background")
    assert not confusion.any()
    assert truth.tolist() == [[1, VOID]]


def test_nothing_gives_nan_not_an_error():
    metrics = compute(empty_confusion(2), background=True)
    assert math.isnan(metrics.miou)
    assert math.isnan(metrics.pixel_accuracy)
    assert math.isnan(metrics.frequency_weighted_iou)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_small_integer_types_do_not_overflow(dtype):
    labels = np.full((2, 2), 200, dtype=dtype)
    confusion = update(empty_confusion(220), labels.astype(np.int32), labels)
    assert confusion[200, 200] == 4
    assert confusion.sum() == 4


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        ([[0, 1]], [[0], [1]], r"prediction of shape \(2, 1\) for ground truth of shape \(1, 2\)"),
        ([[0, 3]], [[0, 1]], r"ground truth with labels 0\.\.3; expected 0\.\.2"),
        ([[0, 1]], [[-1, 1]], r"prediction with labels -1\.\.1; expected 0\.\.2"),
        ([[0, 1]], [[VOID, 1]], "prediction with labels 1..65535"),
    ],
)
def test_impossible_labels_are_an_error(truth, prediction, message):
    with pytest.raises(ValueError, match=message):
        update(empty_confusion(2), np.array(truth), np.array(prediction))
