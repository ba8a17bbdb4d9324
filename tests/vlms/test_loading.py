"""From a name to an adapter: presets, folders, the hub's cache, the hub out of reach, plug-ins."""

import dataclasses
import json
import shutil
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

from pnp_ovss import presets
from pnp_ovss.errors import ConfigError, ModelError
from pnp_ovss.model_check import parse_layers
from pnp_ovss.presets import ModelPreset, get_preset, list_presets, resolve
from pnp_ovss.testing import small_models
from pnp_ovss.testing.fake_vlm import FakeVLM
from pnp_ovss.vlms.checkpoints import loading
from pnp_ovss.vlms.checkpoints.loading import CONVERTED, FAMILIES, find_weights, load_vlm

TRANSFORMERS = {
    "bridgetower": small_models.small_bridgetower,
    "blip-2": small_models.small_blip2,
    "vilt": small_models.small_vilt,
}


@pytest.mark.parametrize("name", list_presets())
def test_every_preset_is_complete(name):
    preset = get_preset(name)
    config = resolve(preset)

    assert preset.family in FAMILIES
    assert preset.title
    assert preset.licence
    assert preset.source
    assert preset.parameters_m > 0
    if preset.family == "pocket":
        return
    assert preset.heads in (8, 9, 12, 14, 16, 28, 32)
    assert config.layer in parse_layers(preset.layers)
    assert config.head == "mean" or config.head <= preset.heads
    assert (preset.hub_id is None) == (preset.family in CONVERTED)
    assert preset.source.startswith("paper, Table 2") or "tune" in preset.source


def test_table_2():
    for name, layer, head in (("blip-large-flickr", 8, 10), ("bridgetower-large-itm-mlm-itc", 2, 8)):
        config = resolve(name)
        assert (config.layer, config.head, config.threshold, config.blur) == (layer, head, 0.15, 0.05)


@pytest.mark.parametrize("family", TRANSFORMERS)
def test_folder_round_trip(family, tmp_path, vocabulary, bpe_folder):
    model = TRANSFORMERS[family]()
    model.save_pretrained(tmp_path)
    for file in [vocabulary] if family != "bridgetower" else bpe_folder.iterdir():
        shutil.copy(file, tmp_path / file.name)

    _own_preset(tmp_path, family)

    vlm = load_vlm(get_preset(tmp_path), device="cpu")

    stored = model.state_dict()
    assert all(torch.equal(value, stored[name]) for name, value in vlm.model.state_dict().items())


def _own_preset(folder: Path, family: str) -> None:
    """Small random models have no built-in preset's architecture."""
    (folder / "preset.toml").write_text(f'[model]\nfamily = "{family}"\n')


def test_bridgetower_without_its_head_is_refused(tmp_path, bpe_folder):
    from safetensors.torch import load_file, save_file

    small_models.small_bridgetower().save_pretrained(tmp_path)
    shutil.copytree(bpe_folder, tmp_path, dirs_exist_ok=True)
    weights = {n: v for n, v in load_file(tmp_path / "model.safetensors").items() if "itm_score" not in n}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    _own_preset(tmp_path, "bridgetower")

    with pytest.raises(ModelError, match=r"itm_score\.fc"):
        load_vlm(get_preset(tmp_path), device="cpu")


def folder_of(tmp_path: Path, name: str, family: str, millions: float) -> Path:
    """A folder with the header of a checkpoint of so many weights, and no numbers in it."""
    folder = tmp_path / name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": family}))
    count = int(millions * 1e6)
    header = json.dumps({"w": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 4 * count)  # a hole: no room on the disk
    return folder


@pytest.mark.parametrize(
    ("name", "family", "millions", "twin"),
    [
        ("renamed", "bridgetower", 865, "bridgetower-large-itm-mlm-itc"),
        ("renamed", "bridgetower", 327 * 1.1, "bridgetower-base-itm-mlm"),
        ("bridgetower-large-itm-mlm", "bridgetower", 900, "bridgetower-large-itm-mlm"),
        ("blip-itm-base-flickr", "blip", 446, "blip-large-coco"),  # the weights count, not the name
    ],
)
def test_a_folder_gets_the_settings_of_its_architecture(tmp_path, name, family, millions, twin):
    preset = get_preset(folder_of(tmp_path, name, family, millions))

    assert preset.settings == get_preset(twin).settings
    assert preset.source.startswith("local files, settings of")


def test_an_architecture_of_no_preset_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"no built-in preset of family bridgetower has about 600.*preset\.toml"):
        get_preset(folder_of(tmp_path, "new", "bridgetower", 600))


def test_presets_that_differ_are_not_guessed(tmp_path, monkeypatch):
    twins = [get_preset("blip-large-coco"), get_preset("blip-large-flickr")]
    other = dataclasses.replace(twins[1], settings={**twins[1].settings, "layer": 3})
    monkeypatch.setattr(presets, "built_in_presets", lambda: (twins[0], other))

    with pytest.raises(ModelError, match="could be blip-large-coco, blip-large-flickr, whose settings differ"):
        get_preset(folder_of(tmp_path, "mine", "blip", 446))


@pytest.mark.parametrize("name", ["albef-coco", "mplug-large"])
def test_converted_families_say_how(name):
    with pytest.raises(ModelError, match=rf"models convert FILE\.pth --as {get_preset(name).family} --out DIR"):
        find_weights(get_preset(name))


def test_local_paths_that_hold_no_model(tmp_path):
    for path in (tmp_path / "nothing.safetensors", tmp_path / "nothing", "./nothing", "not/a/hub-id"):
        with pytest.raises(ModelError, match="does not exist"):
            find_weights(get_preset(path))
    with pytest.raises(ModelError, match=r"holds no \*\.safetensors.*models convert"):
        find_weights(get_preset(tmp_path))


def test_a_file_that_would_not_be_read_is_refused(tmp_path):
    """A loader takes model.safetensors (or pocket.safetensors) of the folder, whatever file of it was named."""
    small_models.small_vilt().save_pretrained(tmp_path)
    _own_preset(tmp_path, "vilt")
    for name in ("best.safetensors", "pocket-v9.safetensors"):
        shutil.copy(tmp_path / "model.safetensors", tmp_path / name)
        with pytest.raises(ModelError, match=rf"{name} would not be read: of a folder model\.safetensors is"):
            load_vlm(get_preset(tmp_path / name), device="cpu")
    assert find_weights(get_preset(tmp_path / "model.safetensors")) == tmp_path
    (tmp_path / "pocket.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="would not be read"):
        find_weights(get_preset(tmp_path / "model.safetensors"))
    assert find_weights(get_preset(tmp_path / "pocket.safetensors")) == tmp_path


def test_a_checkpoint_that_is_named_as_a_model_is_to_be_converted(tmp_path, monkeypatch):
    """Not looked for on the hub, nor among the presets, because of its name's one slash or none."""
    monkeypatch.chdir(tmp_path)
    for name in ("ALBEF.pth", "weights/ALBEF.pth"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(b"x")
        with pytest.raises(ModelError, match=rf"{name} holds no \*\.safetensors; convert .*--as FAMILY --out FOLDER"):
            find_weights(get_preset(name))


def test_names(tmp_path):
    assert get_preset("Salesforce/blip-itm-large-coco").name == "blip-large-coco"
    assert get_preset("someone/else").hub_id == "someone/else"
    with pytest.raises(ConfigError, match="unknown model 'blob'"):
        get_preset("blob")


def test_a_third_party_family_plugs_in_by_entry_point(monkeypatch, tmp_path):
    entry = EntryPoint("mine", "tests.vlms.test_loading:load_mine", "pnp_ovss.vlms")
    monkeypatch.setattr(loading, "entry_points", lambda group: [entry] if group == "pnp_ovss.vlms" else [])
    (tmp_path / "mine.toml").write_text('[model]\nfamily = "mine"\n')

    assert isinstance(load_vlm(get_preset(tmp_path / "mine.toml"), device="cpu"), FakeVLM)
    with pytest.raises(ModelError, match=r"unknown model family 'other'; known are .*mine"):
        load_vlm(ModelPreset(name="o", family="other"))


def load_mine(preset, folder, *, precision):
    return FakeVLM()
