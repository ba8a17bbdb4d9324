"""The mean over a class split: of all its classes or of none."""

import numpy as np
import pytest

from pnp_ovss.datasets import get_vocabulary
from pnp_ovss.datasets.base import Dataset
from pnp_ovss.datasets.splits import get_split
from pnp_ovss.evaluation.metrics import compute, empty_confusion
from pnp_ovss.evaluation.report import split_means


def _found(labels):
    total = empty_confusion(20)
    total[0, 0] = 100
    for label in labels:
        total[label, label] = 30  # found
        total[label, 0] = 10  # missed
    data = Dataset("voc", get_vocabulary("voc20"), has_background=True, samples=())
    return split_means(data, compute(total, background=True), np.asarray(total))


def test_a_split_is_the_mean_of_its_classes():
    found = _found(range(1, 21))

    assert "unseen" in found
    assert all(value == pytest.approx(30 / 40) for value in found.values())


def test_a_split_with_a_class_that_never_occurs_has_no_mean():
    missing = get_split("unseen", "voc20").labels[0]

    assert _found(set(range(1, 21)) - {missing})["unseen"] is None
