"""Every preset, with every policy, method and refiner: a new one needs no new test."""

import re

import pytest

from pnp_ovss import Segmenter, list_methods, list_presets, list_refiners
from pnp_ovss.config import SegmenterConfig
from pnp_ovss.presets import get_preset, resolve
from pnp_ovss.testing.fake_vlm import FakeVLM
from pnp_ovss.vlms.checkpoints.loading import FAMILIES, is_built_in
from tests.scenes import two_squares

POLICIES = ("all", "itm", "oracle")
"""Those that need no file and no second model."""
ELSEWHERE = ("densecrf-compiled", "densecrf-reference", "sam")
"""Refiners that need a package or weights of their own; their own tests have them."""


@pytest.mark.parametrize("name", list_presets())
def test_a_preset_says_what_it_is_of(name):
    preset = get_preset(name)
    assert preset.family in FAMILIES
    assert preset.title
    assert preset.licence
    assert preset.source
    assert preset.paper
    with pytest.raises(AttributeError):  # facts of third parties are not written to
        preset.licence = ""
    assert preset.parameters_m > 0
    stated = [int(number) for number in re.findall(r"\d+", preset.layers)]
    assert preset.heads > 0
    assert is_built_in(preset) or preset.download_mb > 0 or preset.hub_id is None
    layer = resolve(preset).layer
    assert min(stated) <= layer <= max(stated) if "-" in preset.layers else layer in stated


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", list_presets())
def test_a_preset_resolves_with_every_method_and_policy(name, policy):
    for method in (None, *list_methods()):
        config = resolve(name, method, policy=policy)
        assert config.policy == policy
        assert config.threshold > 0


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("refine", [name for name in list_refiners() if name not in ELSEWHERE])
@pytest.mark.parametrize("name", list_presets())
def test_its_settings_segment_on_a_tiny_model(name, refine, policy):
    config = resolve(name, policy=policy if policy == "all" else None)
    fitting = SegmenterConfig(layer=2, head=2, size_px=96, match_threshold=0.5, refine=refine)
    config = config.replace(
        **{key: getattr(fitting, key) for key in ("layer", "head", "size_px", "match_threshold", "refine")}
    )
    config = config.replace(bank="", policy=policy)
    segmenter = Segmenter(FakeVLM(), config)
    image = two_squares(48, 64)
    result = segmenter(image, ["red", "blue"], keep=["red"] if policy == "oracle" else None)
    assert result.labels.shape == image.shape[:2]
    assert (result.labels == 1).any()
    assert result.labels.max() <= 2
