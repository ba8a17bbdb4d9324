"""Settings: defaults, files, precedence and refusals."""

import dataclasses

import pytest

from pnp_ovss.config import SegmenterConfig
from pnp_ovss.errors import ConfigError
from pnp_ovss.presets import get_method, get_preset, list_methods, list_presets, resolve
from pnp_ovss.refiners.densecrf import DenseCRF


def test_defaults_are_the_papers_values():
    config = SegmenterConfig()
    assert (config.layer, config.head, config.threshold, config.blur, config.drops) == (8, 10, 0.15, 0.05, 4)
    assert config.template == "A picture of {classes}"


@pytest.mark.parametrize("name", list_presets())
def test_every_preset_loads_and_names_its_source(name):
    preset = get_preset(name)
    assert preset.source
    assert resolve(preset).layer >= 1


def test_method_paper_restores_every_setting_that_another_method_changes():
    changed = {key for name in list_methods() if name != "paper" for key in get_method(name)}
    assert changed - {"drop_patches"} <= set(get_method("paper"))  # TOML has no word for none


@pytest.mark.parametrize("name", list_presets())
def test_method_paper_leaves_only_what_its_file_says_to_the_preset(name):
    """Layer, head, size and precision; what a policy would need has no say under `all`."""
    fixed, plain = resolve(name, "paper").to_dict(), SegmenterConfig().to_dict()
    paper = {
        "policy": "all",
        "prompted": "all",
        "normalise": "global",
        "refine_options": {"iterations": 10, "unary": "softmax"},
    }
    left = {"layer", "head", "size_px", "precision", "match_threshold"}
    assert {key: value for key, value in fixed.items() if key not in left} == {
        key: value for key, value in {**plain, **paper}.items() if key not in left
    }
    assert DenseCRF(iterations=10, unary="softmax") == DenseCRF()
    assert fixed["refine_options"] == {"iterations": 10, "unary": "softmax"}


@pytest.mark.parametrize("name", ["blip-large-flickr", "blip-large-coco"])
def test_table_2_of_the_paper(name):
    config = resolve(name)
    assert (config.layer, config.head, config.threshold, config.blur) == (8, 10, 0.15, 0.05)


def test_explicit_wins_over_method_wins_over_preset(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('[model]\nfamily = "blip"\nsource = "test"\n[settings]\ndrops = 1\nblur = 0.2\nlayer = 3\n')
    config = resolve(file, "authors-later", blur=0.01, size_px=None)
    assert (config.drops, config.blur, config.layer, config.drop_patches) == (3, 0.01, 3, 10)


def test_another_refiner_does_not_inherit_a_methods_refiner_options():
    assert resolve(None, "authors-cvpr").refine_options["iterations"] == 20
    assert resolve(None, "authors-cvpr", refine="densecrf").refine_options["iterations"] == 20
    assert resolve(None, "authors-cvpr", refine="pamr").refine_options == {}
    mine = resolve(None, "authors-cvpr", refine="pamr", refine_options={"iterations": 3})
    assert mine.refine_options == {"iterations": 3}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hole": "white"}, "choose from black, mean, remove_tokens"),
        ({"drops": True}, "drops = True"),
        ({"drops": -1}, "[0, 100]"),
        ({"head": "min"}, "a whole number, mean"),
        ({"head": 0}, "head = 0 is out of range; it must lie in [1, 1000]"),
        ({"layer": 0}, "layer = 0"),
        ({"drop_share": 1.0}, "between 0 and 1"),
        ({"drop_patches": 0}, "drop_patches = 0 is out of range"),
        ({"threshold": float("nan")}, "threshold = nan is out of range"),
        ({"blur": float("inf")}, "blur = inf"),
        ({"background": -0.1}, "background = -0.1"),
        ({"match_top_k": -1}, "match_top_k = -1"),
        ({"refine_options": 4}, "refine_options = 4 is not possible; choose from a table"),
        ({"background": "sky"}, "complement"),
        ({"template": "A picture"}, "{classes} once"),
        ({"threshhold": 0.1}, "unknown setting 'threshhold'; the settings are accumulate, "),
        ({"patches_per_round": 10}, "'drop_patches' now"),
        ({"first_round_weight": 2.0}, "'first_pass_weight' now"),
        ({"accumulate": "per_round_minmax"}, "'per_pass_minmax' now"),
        ({"background": "off"}, "background = 'off' is not possible; it is called 'none' now"),
    ],
)
def test_refused_settings_say_what_is_possible(settings, words):
    with pytest.raises(ConfigError) as caught:
        SegmenterConfig().replace(**settings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_number_is_a_background():
    assert SegmenterConfig(background=0.4).background == 0.4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[model]\nhub_id = 'a/b'", "no key 'family'"),
        ("[model]\nfamily = 'blip'\ncolour = 1", "unknown keys colour"),
        ("[model]\nfamily = 'blip'\n[settings]\nfoo = 1", "unknown setting 'foo'"),
        ("[model", "not valid TOML"),
        ("settings = 5\n[model]\nfamily = 'fake'", "bad.toml: model and settings must be tables"),
        ("model = [1]", "bad.toml: model and settings must be tables"),
        ("[model]\nfamily = ['fake']", "bad.toml: family = ['fake'] must be a text"),
        ("[model]\nfamily = 'fake'\npath = 7", "bad.toml: path = 7 must be a text"),
        ("[model]\nfamily = 'fake'\nheads = '8'", "bad.toml: heads = '8' must be a number"),
        ("[model]\nfamily = 'fake'\n[settings]\nthreshold = 'high'", "bad.toml: threshold = 'high'"),
    ],
)
def test_malformed_presets(tmp_path, text, words):
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        get_preset(file)
    assert words in str(caught.value)


def test_missing_files_and_unknown_names(tmp_path):
    method = tmp_path / "method.toml"
    method.write_text("treshold = 1")
    for call, words in [
        (lambda: get_preset("nope"), "unknown model 'nope'"),
        (lambda: get_preset(tmp_path / "no.toml"), "cannot read"),
        (lambda: get_method("nope"), "unknown method 'nope'"),
        (lambda: get_method(tmp_path / "no.toml"), "cannot read"),
        (lambda: get_method(method), "method.toml: unknown setting 'treshold'"),
        (lambda: get_preset(""), "model = '' names none"),
        (lambda: get_preset(None), "model = None names none"),
    ]:
        with pytest.raises(ConfigError) as caught:
            call()
        assert words in str(caught.value)


def test_a_setting_says_which_step_reads_it_and_what_it_means():
    fields = dataclasses.fields(SegmenterConfig)
    assert {field.metadata["step"] for field in fields} == {"load", "prepare", "look", "label"}
    assert all(field.metadata["help"].endswith(".") for field in fields)
    assert SegmenterConfig().differing(SegmenterConfig(head=1, blur=0, drops=2), "look") == ["head", "drops"]


def test_another_refiner_does_not_take_over_options():
    config = SegmenterConfig(refine="densecrf", refine_options={"iterations": 3})
    assert config.replace(refine="pamr").refine_options == {}
    assert config.replace(refine="densecrf").refine_options == {"iterations": 3}
    assert config.replace(refine="pamr", refine_options={"iterations": 2}).refine_options == {"iterations": 2}


def test_what_a_policy_implies_gives_way_to_what_is_set(tmp_path):
    assert resolve(None, policy="all").normalise == "global"
    assert resolve(None, policy="all", normalise="per_class").normalise == "per_class"
    assert resolve(None, "authors-cvpr", policy="all").normalise == "per_class"  # the method says it
    clip = resolve("pocket", policy="clip")
    assert (clip.match_threshold, clip.match_relative) == (0.0, 0.5)
    assert resolve("pocket", policy="clip", match_threshold=0.2).match_threshold == 0.2
    own = get_preset("pocket").settings["match_threshold"]
    assert resolve("pocket").match_threshold == own != 0.0


def test_a_preset_wins_over_what_every_preset_starts_from(tmp_path):
    (tmp_path / "mine.toml").write_text('[model]\nfamily = "fake"\n[settings]\ncompletion = "none"\ncore_share = 0.1\n')
    config = resolve(tmp_path / "mine.toml")
    assert (config.completion, config.core_share, config.competition) == ("none", 0.1, "equal_mass")


def test_keyword_arguments_are_the_settings():
    """What editors know of `from_pretrained` and `replace` is what `SegmenterConfig` has, types included."""
    from typing import get_type_hints

    from pnp_ovss.keywords import Settings

    assert get_type_hints(Settings) == get_type_hints(SegmenterConfig)
