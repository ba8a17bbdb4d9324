import json
import math

import numpy as np
import pytest

from pnp_ovss.evaluation.intervals import ImageCounts, bootstrap_difference, bootstrap_miou
from pnp_ovss.evaluation.metrics import compute, empty_confusion, update

CLASSES = 4
LABELS = range(CLASSES + 1)


def random_images(count: int, accuracy: float, seed: int = 0) -> list[np.ndarray]:
    """Confusion matrices of images with two labels each, a share of whose pixels is predicted right."""
    generator = np.random.default_rng(seed)
    matrices = []
    for _ in range(count):
        truth = generator.choice(CLASSES + 1, size=2, replace=False)[generator.integers(0, 2, size=(8, 8))]
        wrong = generator.integers(0, CLASSES + 1, size=(8, 8))
        prediction = np.where(generator.random((8, 8)) < accuracy, truth, wrong)
        matrices.append(update(empty_confusion(CLASSES), truth, prediction))
    return matrices


def compact(matrices) -> list[ImageCounts]:
    return [ImageCounts.of(matrix) for matrix in matrices]


def test_counts_keep_the_whole_matrix_also_through_json():
    for matrix in random_images(5, 0.5):
        counts = ImageCounts.of(matrix)
        assert np.array_equal(counts.confusion(), matrix)
        entries = json.loads(json.dumps(counts.to_json()))
        assert np.array_equal(ImageCounts.from_json(entries, CLASSES + 1).confusion(), matrix)


def test_an_image_of_void_only_goes_through_json():
    counts = ImageCounts.of(empty_confusion(CLASSES))
    assert counts.to_json() == []
    assert not ImageCounts.from_json([], CLASSES + 1).confusion().any()


def test_the_value_is_the_miou_of_all_images():
    matrices = random_images(30, 0.7)
    whole = compute(sum(matrices), background=True)
    assert bootstrap_miou(compact(matrices), LABELS).value == pytest.approx(whole.miou)
    without = bootstrap_miou(compact(matrices), range(1, CLASSES + 1))
    assert without.value == pytest.approx(whole.miou_without_background)


def test_the_bounds_against_a_loop_over_resampled_data_sets():
    matrices = random_images(12, 0.6)
    generator = np.random.default_rng(5)
    values = []
    for _ in range(2000):
        drawn = generator.integers(0, len(matrices), size=len(matrices))
        values.append(compute(sum(matrices[i] for i in drawn), background=True).miou)
    interval = bootstrap_miou(compact(matrices), LABELS, seed=1)
    low, high = np.quantile(values, [0.025, 0.975])
    assert interval.low == pytest.approx(low, abs=0.01)
    assert interval.high == pytest.approx(high, abs=0.01)
    assert interval.low < interval.value < interval.high


def test_more_images_give_a_narrower_interval():
    few, many = (bootstrap_miou(compact(random_images(count, 0.7)), LABELS) for count in (10, 160))
    assert many.high - many.low < 0.5 * (few.high - few.low)


def test_a_seed_makes_it_repeatable():
    images = compact(random_images(10, 0.7))
    assert bootstrap_miou(images, LABELS, seed=3) == bootstrap_miou(images, LABELS, seed=3)
    assert bootstrap_miou(images, LABELS, seed=3) != bootstrap_miou(images, LABELS, seed=4)


def test_the_same_run_has_no_difference_and_a_better_one_has():
    base = random_images(25, 0.5)
    same = bootstrap_difference(compact(base), compact(base), LABELS)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert not same.excludes(0)
    better = bootstrap_difference(compact(random_images(25, 0.8)), compact(base), LABELS)
    assert better.excludes(0)
    assert better.low > 0
    worse = bootstrap_difference(compact(base), compact(random_images(25, 0.8)), LABELS)
    assert worse.high < 0
    assert worse.excludes(0)


def test_pairing_narrows_the_difference():
    """A small constant gain on very different images is seen only because both runs share the images."""
    generator = np.random.default_rng(0)
    ours, theirs = [], []
    for right in generator.integers(5, 90, size=40):
        for runs, found in ((theirs, right), (ours, right + 5)):
            matrix = empty_confusion(1)
            matrix[1, 1], matrix[1, 0], matrix[0, 0] = found, 100 - found, 100
            runs.append(ImageCounts.of(matrix))
    difference = bootstrap_difference(ours, theirs, [1])
    alone = bootstrap_miou(ours, [1])
    assert difference.excludes(0)
    assert difference.high - difference.low < 0.1 * (alone.high - alone.low)


def test_labels_that_never_occur_are_left_out():
    matrix = empty_confusion(CLASSES)
    matrix[1, 1] = 10
    interval = bootstrap_miou([ImageCounts.of(matrix)] * 3, LABELS)
    assert (interval.value, interval.low, interval.high) == (1, 1, 1)
    assert math.isnan(bootstrap_miou([ImageCounts.of(matrix)], [2]).low)


def test_impossible_requests_are_errors():
    images = compact(random_images(3, 0.5))
    with pytest.raises(ValueError, match="no images to draw from"):
        bootstrap_miou([], LABELS)
    with pytest.raises(ValueError, match="3 images against 2"):
        bootstrap_difference(images, images[:2], LABELS)
