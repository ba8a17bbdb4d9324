"""What the page's options mean for the configuration."""

import pytest

from pnp_ovss import Segmenter
from pnp_ovss.presets import get_preset
from pnp_ovss.testing.fake_vlm import FakeVLM
from tests.segmented import CONFIG

pytest.importorskip("gradio", reason="the page needs gradio: pip install '.[web]'")


def test_whole_numbers_are_int_and_all_classes_compete_on_one_scale():
    from pnp_ovss.web.page import chosen_settings

    plain = {"policy": "itm", "size_px": 448, "threshold": 0.2, "drops": 1, "refine": "none"}
    assert chosen_settings(["itm", 448.0, 0.2, 1.0, "none"]) == plain
    every = chosen_settings(["all", 48.0, 0.2, 1.0, "none"])
    assert Segmenter(FakeVLM(), CONFIG).replace(**every).config.normalise == "global"
    assert isinstance(chosen_settings(["itm", 448.0, 1, 1.0, "none"])["size_px"], int)


def test_the_options_follow_the_preset():
    from pnp_ovss.web.fields import preset_config

    for model in ("pocket", "vilt-coco"):
        shown, preset = preset_config(model), get_preset(model)
        for name in ("size_px", "threshold", "drops", "policy"):
            if name in preset.settings:
                assert getattr(shown, name) == preset.settings[name], (model, name)
    assert (preset_config("pocket").size_px, preset_config("vilt-coco").policy) == (448, "all")
