"""Rivals win pixels where the model finds them, and what they win is background."""

import numpy as np
import pytest

from pnp_ovss import Segmenter, SegmenterConfig
from pnp_ovss.errors import ClassNameError
from pnp_ovss.testing.fake_vlm import FakeVLM
from tests.near import same_labels
from tests.scenes import BLUE, two_squares

CONFIG = SegmenterConfig(layer=2, head=2, size_px=96, refine="none", drops=0, background="none")


def segment(names, **settings):
    return Segmenter(FakeVLM(), CONFIG.replace(**settings))(two_squares(), names)


@pytest.mark.parametrize("competition", ["overlay", "equal_mass"])
@pytest.mark.parametrize("background", ["none", "complement"])
def test_what_a_rival_wins_is_background(competition, background):
    settings = {"competition": competition, "background": background}
    asked = segment(["red", "blue"], **settings)
    found = segment(["red"], rivals="blue", **settings)
    assert asked["blue"].any()
    same_labels(found.labels, np.where(asked.labels == 2, 0, asked.labels))
    assert found.class_names == ("red",)
    assert found.kept == (1,)
    assert len(found.maps) == 1
    assert list(found.shares) == list(found.match_scores) == ["red"]
    assert found.provenance.config.rivals == "blue"


def test_without_a_rival_the_class_takes_what_is_its():
    alone = segment(["red"])
    assert alone["red"][(two_squares() == BLUE).all(axis=2)].all()  # without background every pixel is red
    assert not segment(["red"], rivals="blue")["red"][60:75, 90:110].any()


def test_a_rival_that_is_not_there_changes_nothing():
    same_labels(segment(["red"], rivals="green").labels, segment(["red"]).labels)
    prepared = Segmenter(FakeVLM(), CONFIG.replace(rivals="green, blue")).prepare(two_squares(), ["red"])
    assert (prepared.kept, prepared.names) == ((0, 2), ("red", "blue"))


def test_a_rival_that_is_asked_for_is_a_class():
    segmenter = Segmenter(FakeVLM(), CONFIG.replace(rivals="blue, green"))
    prepared = segmenter.prepare(two_squares(), ["red", "Blue"])
    assert prepared.names == ("red", "Blue")
    found = segmenter.label(segmenter.look(prepared))
    same_labels(found.labels, segment(["red", "blue"]).labels)


def test_with_names_that_the_caller_lists_and_with_none_left():
    segmenter = Segmenter(FakeVLM(), CONFIG.replace(rivals="blue", background="complement"))
    listed = segmenter(two_squares(), ["red", "green"], keep=["red"])
    same_labels(listed.labels, segment(["red"], rivals="blue", background="complement").labels)
    trace = segmenter.look(segmenter.prepare(two_squares(), ["red", "yellow"])).keep(["red"])
    everywhere = segmenter.replace(background="none")
    same_labels(everywhere.label(trace).labels, segment(["red"], rivals="blue").labels)
    assert not segmenter(two_squares(), ["green"]).labels.any()


def test_bad_names_are_one_line():
    with pytest.raises(ClassNameError, match="given twice"):
        segment(["red"], rivals="blue, Blue")
