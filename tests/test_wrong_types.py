"""What is given in place of an adapter, settings, a photo or a step's value is told in one line, before any work."""

import re

import numpy as np
import pytest

from pnp_ovss import PnPError, Segmenter, SegmenterConfig
from pnp_ovss.errors import ConfigError, ImageError
from pnp_ovss.presets import get_method
from pnp_ovss.testing.fake_vlm import FakeVLM
from pnp_ovss.trace import Photo
from pnp_ovss.vlms.devices import pick_device
from tests.scenes import two_squares

CONFIG = SegmenterConfig(layer=2, head=2, size_px=96, refine="none")


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter(FakeVLM(), CONFIG)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            {"config": {"layer": 2}},
            "config = {'layer': 2} is no SegmenterConfig but a dict; write SegmenterConfig(layer=2, ...)",
        ),
        ({"config": {}}, "config = {} is no SegmenterConfig but a dict"),
        ({"vlm": "pocket"}, "vlm = 'pocket' is no VisionLanguageModel but a str; it has no layers, heads"),
        ({"vlm": None}, "vlm = None is no VisionLanguageModel but a NoneType"),
        ({"refiner": "densecrf"}, "refiner = 'densecrf' is no Refiner but a str; get_refiner(NAME) makes one"),
        ({"policy": "all"}, "policy = 'all' is no ClassPolicy but a str; name one in the settings"),
        ({"presence": 0.5}, "presence = 0.5 is no Presence but a float"),
    ],
)
def test_parts_of_a_segmenter(parts, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        Segmenter(**{"vlm": FakeVLM(), "config": CONFIG, **parts})


def test_what_is_no_value_of_the_step_before(segmenter):
    prepared = segmenter.prepare(two_squares(), ["red"])
    for step in (segmenter.look, segmenter.look_all, lambda photo: segmenter.look_many([photo])):
        with pytest.raises(ConfigError, match="is no Prepared but a ndarray; `prepare` makes one") as caught:
            step(two_squares())
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 250
    with pytest.raises(ConfigError, match="is no Trace but a Prepared; `look` makes one"):
        segmenter.label(prepared)


def test_photos_that_are_none(segmenter):
    picture = two_squares()
    with pytest.raises(ConfigError, match="is no Photo but a ndarray; "):
        segmenter.prepare_many([picture], ["red"])
    first, second = segmenter.segment_photos([picture, Photo(picture)], ["red"])
    assert isinstance(first, PnPError)  # the photo itself was given back as if it were an error
    assert "red" in second
    for wrong in ("a.jpg", picture.astype(np.float32), picture[..., 0]):
        with pytest.raises(ImageError, match=r"a Photo holds an array \(H, W, 3\) uint8, found .*Photo.read"):
            Photo(wrong)
    with pytest.raises(ConfigError, match="at_once = '2' is not possible"):
        next(segmenter.segment_many([picture], ["red"], at_once="2"))


def test_a_method_or_device_that_is_no_name():
    with pytest.raises(ConfigError, match="unknown method '3'; choose from "):
        get_method(3)
    with pytest.raises(ConfigError, match=r"unknown device '1\.5'; choose from auto"):
        pick_device(1.5)
