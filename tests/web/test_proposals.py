"""What the page shows of the refiner `sam`: the points, the proposals with their agreement, what was taken and what not."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from pnp_ovss import Segmenter, SegmenterConfig
from pnp_ovss.refiners import sam
from pnp_ovss.refiners.promptable import Proposals
from pnp_ovss.testing.fake_vlm import FakeVLM
from pnp_ovss.web.desk import Desk
from pnp_ovss.web.page import view
from pnp_ovss.web.steps import segment_in_steps
from pnp_ovss.web.views import step_caption, with_points
from tests.near import same_labels
from tests.scenes import BLUE, RED, two_squares

CONFIG = SegmenterConfig(layer=2, head=2, size_px=96, refine="sam", drops=1, threshold=0.3)
NAMES = "red, green, blue"


class RedKnower:
    """A promptable segmenter that proposes what is red where it is asked about red, else everything."""

    def encode(self, image):
        return torch.from_numpy((image == RED).all(axis=2))

    def propose(self, features, size, points):
        height, width = size
        masks = torch.ones(len(points), 1, height, width)
        for row, (x, y) in enumerate(points):
            if features[int(y), int(x)]:
                masks[row, 0] = features.float() * 2 - 1
        return Proposals(masks, torch.ones(masks.shape[:2]))


@pytest.fixture(autouse=True)
def fake_sam(monkeypatch):
    monkeypatch.setattr(sam, "_loaded", lambda *_: RedKnower())


def steps_of(config=CONFIG, names=NAMES):
    result, steps, _ = segment_in_steps(Segmenter(FakeVLM(), config), two_squares(), names, image_id="", report=print)
    return result, steps


def test_the_step_before_the_result_says_what_was_asked_and_taken():
    result, steps = steps_of()
    asked, last = steps[-2:]
    assert (asked.name, last.name) == ("proposals", "refiner sam")
    red, blue = asked.notes
    assert re.fullmatch(r"red: the proposal agrees (0\.[3-9]\d|1\.00) with the CRF's mask and is taken", red)
    assert re.fullmatch(
        r"blue: the proposal agrees 0\.[0-2]\d with the CRF's mask, less than 0\.3; the CRF's mask is kept", blue
    )
    assert "sam (mobile-sam, trained on masks)" in asked.text
    photo = two_squares()
    peak = {label: (x, y) for label, x, y in reversed(asked.points)}  # a class's first point
    assert sorted(peak) == [1, 3]
    for (x, y), colour in ((peak[1], RED), (peak[3], BLUE)):
        assert tuple(photo[int(y * photo.shape[0]), int(x * photo.shape[1])]) == tuple(colour)
    is_red = (photo == RED).all(axis=2)
    np.testing.assert_array_equal(asked.labels == 1, is_red)  # the surer proposal lies above
    np.testing.assert_array_equal(asked.labels == 3, ~is_red)
    np.testing.assert_array_equal(result["red"], is_red)
    rough = Segmenter(FakeVLM(), CONFIG.replace(refine="densecrf"))(photo, NAMES)
    np.testing.assert_array_equal(result["blue"] & ~is_red, rough["blue"] & ~is_red)


def test_the_result_is_the_plain_segmenters():
    result, steps = steps_of()
    plain = Segmenter(FakeVLM(), CONFIG)(two_squares(), NAMES)
    same_labels(result.labels, plain.labels)
    same_labels(steps[-1].labels, plain.labels)
    assert result.provenance.refiner == plain.provenance.refiner


def test_other_refiners_and_an_empty_photo_have_no_such_step():
    for config, names in ((CONFIG.replace(refine="pamr"), NAMES), (CONFIG, "green, yellow")):
        assert "proposals" not in [step.name for step in steps_of(config, names)[1]]


def test_the_page_lists_and_draws_them_and_renews_them(tmp_path):
    photo = tmp_path / "photo.png"
    Image.fromarray(two_squares()).save(photo)
    desk = Desk(lambda _: Segmenter(FakeVLM(), CONFIG), tmp_path)
    shown = desk.segment(str(photo), NAMES, "m", {})
    at = len(shown.steps) - 2
    caption = step_caption(shown.steps, at)
    assert caption.count("<li>") == 2
    assert "the CRF&#x27;s mask is kept" in caption
    drawn = with_points(shown, shown.steps[at])
    (_, x, y), *_ = shown.steps[at].points
    row, column = int(y * 96), int(x * 128)
    assert tuple(drawn[row, column]) != tuple(shown.photo[row, column])
    assert with_points(shown, shown.steps[-1]) is shown.photo
    assert view(shown, at, ["red"])[0].value is not None

    fewer = desk.relabel(shown, shown.threshold, 1.0)
    assert [step.name for step in fewer.steps] == [name for name in names_of(shown) if name != "proposals"]
    again = desk.relabel(shown, shown.threshold, shown.match_threshold)
    assert names_of(again) == names_of(shown)
    assert again.steps[at].notes == shown.steps[at].notes


def names_of(shown):
    return [step.name for step in shown.steps]
