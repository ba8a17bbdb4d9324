"""What is said of an answer: nothing found, doubtful finds, and maps that tell no class from another."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pnp_ovss import Segmentation, SegmenterConfig
from pnp_ovss.postprocess import argmax_labels
from pnp_ovss.testing import fake_vlm
from pnp_ovss.verdicts import advice, doubts, equal_scores, evidence, why_not
from tests.commands import caller
from tests.scenes import two_squares
from tests.segmented import segment

ITM = SegmenterConfig(policy="itm", match_threshold=0.8)
PEAK = np.array([[1.0, 0.2], [0.1, 0.0]])
FLAT = np.array([[1.0, 0.9], [0.8, 0.0]])


def test_doubts_by_hand():
    """The threshold's logit is 1.386: 0.9 lies 0.81 above it and 0.95 1.56."""
    assert doubts(0.95, ITM, PEAK) == ()
    assert doubts(0.9, ITM, PEAK) == ("match 0.90 is near 0.8",)
    assert doubts(0.9, ITM, FLAT) == ("match 0.90 is near 0.8", "its map is strong on 75% of the photo")
    assert doubts(0.95, ITM, FLAT + 5) == ("its map is strong on 75% of the photo",)  # lowest and peak, not zero, count
    assert doubts(None, ITM, None) == ()
    assert doubts(0.9, ITM.replace(policy="all"), None) == ()  # no threshold decided


@pytest.mark.parametrize(
    ("score", "told"), [(0.63, "0.63 < 0.8"), (0.7964, "0.796 < 0.8"), (0.79999, "0.79999 < 0.8"), (0.0, "0.00 < 0.8")]
)
def test_a_score_below_the_threshold_is_not_rounded_up_to_it(score, told):
    assert why_not(score, ITM) == told


def test_nothing_found_says_what_to_do_next():
    text = advice({"cat": 0.1, "dog": 0.437, "cow": None}, ITM)
    assert "the best is 'dog' with 0.44, below 0.8; match_threshold = 0.43 lets it in" in text
    assert advice({"cat": None}, ITM) == ""
    nothing = segment(names=["green"])
    assert (nothing.labels == 0).all()
    assert nothing.advice.startswith("none of the names was found: the best is 'green'")
    assert nothing.to_dict()["advice"] == nothing.advice
    assert segment().advice == ""


def test_what_is_advised_works():
    result = segment(names=["green"])
    threshold = float(result.advice.split("match_threshold = ")[1].split(" ")[0])
    assert segment(names=["green"], match_threshold=threshold).kept == (1,)


def test_a_read_result_says_what_it_said(tmp_path):
    nothing, found = segment(names=["green"]), segment()
    for name, result in (("nothing", nothing), ("found", found)):
        result.save(tmp_path, name)
        again = Segmentation.load(tmp_path, name)
        assert again.advice == result.advice
        assert [again.verdict(n) for n in again.class_names] == [result.verdict(n) for n in result.class_names]


def test_a_doubtful_find_is_marked():
    result = segment()
    match = 0.6  # the logit of 0.6 is 0.41 above that of 0.5
    near = replace(result, match_scores={**result.match_scores, "red": match})
    assert near.doubts("red") == ("match 0.60 is near 0.5",)
    assert near.verdict("red") == "found, doubtful: match 0.60 is near 0.5"
    assert result.doubts("red") == ()
    assert result.verdict("red") == "found"


def test_at_ties_the_surer_class_has_the_pixel_and_background_before_all():
    scores = torch.tensor([[[0.5, 0.1]], [[0.5, 0.7]], [[0.5, 0.7]]])
    assert argmax_labels(scores, (0, 1, 2), (1, 2), [None, 0.6, 0.9]).tolist() == [[0, 2]]
    assert argmax_labels(scores, (0, 1, 2), (1, 2), [None, 0.9, 0.6]).tolist() == [[0, 1]]
    assert argmax_labels(scores, (0, 1, 2), (1, 2), [None, None, None]).tolist() == [[0, 1]]
    assert argmax_labels(scores, (0, 1, 2), (1, 2)).tolist() == [[0, 1]]


def test_equal_maps_are_said():
    one = np.full((4, 4), 0.7)
    text = equal_scores(np.stack([one * 0, one, one]), (0, 2, 1), ("cat", "dog"))
    assert "the maps of 'dog' and 'cat' are the same nearly everywhere" in text
    assert equal_scores(np.stack([one * 0, one, one * 0.9]), (0, 2, 1), ("cat", "dog")) == ""
    assert equal_scores(np.stack([one, one]), (0, 1), ("cat", "dog")) == ""


class SurerOfRed(fake_vlm.FakeVLM):
    """Its match of "red" is higher than that of any other name of the colour."""

    def match(self, image, prompts):
        logits = super().match(image, prompts)
        logits[:, 1] += torch.tensor([1.0 if "red" in prompt.class_names else 0.0 for prompt in prompts])
        return logits


@pytest.mark.parametrize("names", ["red, crimson", "crimson, red"])
def test_the_order_of_names_does_not_decide(names, monkeypatch):
    """Two names of one colour have one map; the surer has the pixels wherever it stands in the list."""
    monkeypatch.setitem(fake_vlm.COLOURS, "crimson", fake_vlm.COLOURS["red"])
    result = segment(vlm=SurerOfRed(), names=names.split(", "), competition="overlay")
    assert result.match_scores["red"] > result.match_scores["crimson"]
    assert set(np.unique(result.labels)) == {0, names.split(", ").index("red") + 1}


def test_the_command_says_it(tmp_path, monkeypatch, capsys):
    Image.fromarray(two_squares()).save(tmp_path / "a.png")
    call = caller(monkeypatch, capsys)
    code, text, _ = call("segment", tmp_path / "a.png", "--classes", "green", "--out", tmp_path / "out")
    assert code == 0
    assert "none of the names was found: the best is 'green'" in text
    assert json.loads((tmp_path / "out/a.json").read_text())["advice"] in " ".join(text.split())


def test_evidence_by_hand():
    """Map 0, 1/2, 1, 1/2 in four patches; the mask covers the third and half of the fourth: (1 + 1/2) / (0 + 1/2 + 1 + 1/2)."""
    mask = np.zeros((4, 8), bool)
    mask[:, 4:6] = mask[:2, 6:] = True
    heat = np.array([[3.0, 5.0, 7.0, 5.0]])  # each patch is two columns wide
    assert evidence(mask, heat, None) == pytest.approx(1.5 / 2)
    assert evidence(mask, heat, 0.8) == pytest.approx(0.8 * 1.5 / 2)
    assert evidence(mask, heat * 9 + 4, None) == pytest.approx(1.5 / 2)  # the scale is of no account
    assert evidence(~mask, heat, None) < evidence(mask, heat, None)
    assert 0 <= evidence(mask, heat * 0, None) <= 1


def test_the_score_of_to_hf_is_the_evidence():
    result = segment()
    for entry in result.to_hf():
        label = result.class_names.index(entry["label"]) + 1
        heat = result.maps[result.kept.index(label)]
        expected = evidence(result.mask(entry["label"]), heat, result.match_scores[entry["label"]])
        assert entry["score"] == pytest.approx(expected)
