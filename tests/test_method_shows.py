"""Each step of the method changes the labels of a scene made for it, so that a step left out anywhere is seen."""

from itertools import combinations
from typing import get_args

import numpy as np
import pytest

from pnp_ovss import Segmenter
from pnp_ovss.config import Gradient
from pnp_ovss.evaluation.ablation import AblationSystem
from pnp_ovss.evaluation.systems import Query
from pnp_ovss.testing.fake_vlm import FakeVLM
from tests.scenes import faint_objects, level_of
from tests.segmented import CONFIG

CLASSES = (("red",), ("blue",), ("green",))
SHARP = CONFIG.replace(blur=0.0)


def cells(labels):
    """The label in the middle of each patch."""
    return labels[4::8, 4::8]


def differ_in_pairs(rows):
    equal = [pair for pair in combinations(rows, 2) if np.array_equal(*(rows[name] for name in pair))]
    assert not equal, equal


def test_every_row_of_table_5_has_other_labels():
    segmenter = Segmenter(FakeVLM(), CONFIG.replace(refine="densecrf"))
    rows = AblationSystem(segmenter).answer(Query("scene", faint_objects(), CLASSES, (1, 2)))
    assert len(rows) == 10
    differ_in_pairs({name: answer.labels for name, answer in rows.items()})


def test_every_gradient_has_other_labels():
    differ_in_pairs(
        {kind: Segmenter(FakeVLM(), SHARP.replace(gradient=kind))(faint_objects(), CLASSES).labels
         for kind in get_args(Gradient)}
    )  # fmt: skip


@pytest.mark.parametrize("drops", [0, 1, 2, 3, 4])
def test_a_drop_uncovers_the_next_fainter_object(drops):
    """Masks lie on the objects of every level that a pass could see, on nothing else, and not on the distractor."""
    labels = cells(Segmenter(FakeVLM(), SHARP.replace(drops=drops))(faint_objects(), CLASSES).labels)
    expected = np.zeros_like(labels)
    for label, colour in ((1, "red"), (2, "blue")):
        expected[(level_of(colour) >= 0) & (level_of(colour) <= drops)] = label
    np.testing.assert_array_equal(labels, expected)


def test_attention_alone_falls_for_the_distractor():
    plain = SHARP.replace(gradient="none", drops=0)
    labels = cells(Segmenter(FakeVLM(), plain)(faint_objects(), CLASSES).labels)
    magenta = (faint_objects()[4::8, 4::8] == (255, 0, 255)).all(axis=2)
    assert magenta.sum() == 7
    assert (labels[magenta] > 0).all()


def test_the_score_of_tokens_drops_what_the_closing_token_marks():
    magenta = (faint_objects()[4::8, 4::8] == (255, 0, 255)).all(axis=2)
    visible, labels = {}, {}
    for score in ("classes", "tokens"):
        segmenter = Segmenter(FakeVLM(), SHARP.replace(drop_score=score))
        trace = segmenter.look(segmenter.prepare(faint_objects(), CLASSES))
        visible[score] = trace.passes[1].visible.numpy()[magenta]
        labels[score] = segmenter.label(trace).labels
    assert not visible["tokens"].any()
    assert visible["classes"].sum() == 3  # those in the lower half
    differ_in_pairs(labels)
