"""Foreign folders: whatever stands in config.json, one line and no traceback, no hang and no memory filled."""

import json
import random
import shutil
import time

import pytest

from pnp_ovss.errors import ModelError, PnPError
from pnp_ovss.model_check import check_model
from pnp_ovss.presets import get_preset
from pnp_ovss.testing import small_models
from pnp_ovss.vlms.checkpoints.loading import load_vlm

MAKERS = {
    "blip": small_models.small_blip,
    "bridgetower": small_models.small_bridgetower,
    "blip-2": small_models.small_blip2,
    "vilt": small_models.small_vilt,
}
VALUES = (
    None, True, False, 0, 1, -1, 7, 2**31, 10**12, 0.5, -0.5, 1e300, float("nan"), float("inf"), "", "x", "12", [], [1], [[]], {},
    {"a": 1}, "\ud800", "a" * 1000,
)  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory, vocabulary, bpe_folder):
    """A good folder of each family, with a preset of its own."""
    found = {}
    for family, make in MAKERS.items():
        folder = tmp_path_factory.mktemp(family)
        make().save_pretrained(folder)
        for file in [vocabulary] if family != "bridgetower" else bpe_folder.iterdir():
            shutil.copy(file, folder / file.name)
        settings = '[settings]\nlayer = 1\nhead = "mean"\nsize_px = 32\n'
        (folder / "preset.toml").write_text(f'[model]\nfamily = "{family}"\n{settings}')
        found[family] = folder
    return found


def places(values, path=()):
    """The path to every value."""
    for key, value in values.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from places(value, (*path, key))


def changed(config, path, value):
    copy = json.loads(json.dumps(config))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copy


def outcome(folder):
    """ "", or the one line with which the folder was refused; anything else is raised."""
    try:
        load_vlm(get_preset(folder), device="cpu")
    except PnPError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (
            ("text_config", "num_hidden_layers"),
            10**9,
            "num_hidden_layers is '1000000000', not a whole number from 1 to 200",
        ),
        (("text_config", "hidden_size"), "48", "hidden_size is '48', not a whole number"),
        (("vision_config", "patch_size"), 0, "patch_size is '0', not a whole number from 1"),
        (("vision_config", "num_attention_heads"), True, "num_attention_heads is 'True', not a whole number"),
        (("text_config", "layer_norm_eps"), "small", "layer_norm_eps is 'small', not a number"),
        (("text_config",), [], r"text_config is '\[\]', not an object"),
        (("model_type",), 3, "has no model_type"),
        (("text_config", "hidden_act"), "no such", "its files do not make a model"),
        (("text_config", "num_hidden_layers"), 190, "it belongs to another model|weights are missing"),
    ],
)
def test_wrong_values_are_one_line(folders, path, value, reason, tmp_path):
    shutil.copytree(folders["blip"], tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(changed(config, path, value)))

    with pytest.raises(ModelError, match=reason) as error:
        load_vlm(get_preset(tmp_path), device="cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, "null", "[]", '{"model_type": "blip", "model_type": "vilt"}', "\x00", "{" + " " * (1 << 21) + "}"],
)
def test_a_config_that_is_none(folders, content, tmp_path):
    shutil.copytree(folders["blip"], tmp_path, dirs_exist_ok=True)
    (tmp_path / "config.json").write_text(content)

    assert "config.json" in outcome(tmp_path)


def test_wide_weights_without_weights_are_refused_before_they_are_made(folders, tmp_path):
    """transformers would draw ten billion random numbers first."""
    shutil.copytree(folders["blip"], tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    wide = changed(
        changed(config, ("text_config", "hidden_size"), 19_200), ("text_config", "intermediate_size"), 90_000
    )
    (tmp_path / "config.json").write_text(json.dumps(wide))

    with pytest.raises(
        ModelError, match=r"describes [\d,]{12,} weights, the files hold .* it belongs to another model"
    ):
        load_vlm(get_preset(tmp_path), device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize("family", MAKERS)
def test_any_value_anywhere_is_taken_or_refused_in_a_line(folders, family, tmp_path):
    """A fuzzer with a seed: what loads also runs, and nothing takes longer than 20 s."""
    shutil.copytree(folders[family], tmp_path, dirs_exist_ok=True)
    config, drawn = json.loads((tmp_path / "config.json").read_text()), random.Random(0)
    taken = refused = 0
    for _ in range(60):
        path, value = drawn.choice(list(places(config))), drawn.choice(VALUES)
        (tmp_path / "config.json").write_text(json.dumps(changed(config, path, value)))
        start = time.monotonic()
        message = outcome(tmp_path)
        assert "\n" not in message, (path, value)
        assert time.monotonic() - start < 20, (path, value)
        refused, taken = refused + bool(message), taken + (not message)
        if not message:
            with pytest.raises(
                PnPError, match=r"known answer wrong|same at every patch|not finite|does not depend|fit"
            ):
                check_model(get_preset(tmp_path), device="cpu")
    assert taken > 0
    assert refused > 0
