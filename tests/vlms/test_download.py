"""The hub's layouts, on a server of our own: what is fetched, converted, named and found again."""

import json
import re

import pytest
import torch
import transformers

from pnp_ovss import Segmenter, presets
from pnp_ovss.errors import ConfigError, ModelError
from pnp_ovss.presets import ModelPreset, built_in_presets, get_preset
from pnp_ovss.spec import SegmenterSpec
from pnp_ovss.testing import small_models
from pnp_ovss.testing.fake_hub import COMMIT
from pnp_ovss.testing.small_decoders import save_decoder
from pnp_ovss.vlms.checkpoints.hub import cached_folder, converted_folder
from pnp_ovss.vlms.checkpoints.loading import fetch_weights, find_weights, load_vlm, settle
from tests.vlms.hub_cases import MODELS, VILT, offline, pickled, without

PICKLED = [preset for preset in built_in_presets() if preset.hub_id and preset.family in MODELS]


DECODERS = {
    "internvl3-1b": "internvl", "llava-1.5-7b": "llava", "paligemma-3b-mix-224": "paligemma", "qwen2.5-vl-7b": "qwen2_5_vl",
    "qwen3-vl-4b": "qwen3_vl", "smolvlm-256m": "smolvlm",
}  # fmt: skip
"""Preset -> architecture, which its family leaves open."""


def test_every_preset_of_the_hub_is_tried_below():
    assert {preset.name for preset in built_in_presets() if preset.hub_id} == {p.name for p in PICKLED} | set(DECODERS)


@pytest.mark.parametrize("name", DECODERS)
def test_every_decoder_is_fetched_loaded_and_found_offline(hub, name, monkeypatch, tmp_path):
    """With safetensors, a chat template and what the processor says, as they are on the hub."""
    preset, folder = get_preset(name), save_decoder(DECODERS[name], tmp_path)
    hub.repositories = {preset.hub_id: {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}}
    hub.revisions.add(preset.revision)

    loaded = load_vlm(preset, device="cpu")

    offline(monkeypatch)
    again = load_vlm(preset, device="cpu")
    weights = [model.model.state_dict() for model in (loaded, again)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert again.name == name


@pytest.mark.parametrize("preset", PICKLED, ids=lambda preset: preset.name)
def test_every_preset_is_fetched_loaded_and_found_offline(hub, saved, preset, monkeypatch, capsys):
    """With only a pickle, as most of them are on the hub; the weights are random and small."""
    hub.repositories = {preset.hub_id: without(saved[preset.family], "model.safetensors")}
    hub.revisions.add(preset.revision)

    vlm = load_vlm(preset, device="cpu")

    said = capsys.readouterr().err
    assert f"fetching {preset.hub_id}: " in said
    assert "its pickle is rewritten once" in said
    offline(monkeypatch)
    again = load_vlm(preset, device="cpu")
    weights = [model.model.state_dict() for model in (vlm, again)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert fetch_weights(preset) == converted_folder(preset)


def test_safetensors_are_preferred_and_nothing_else_is_fetched(hub, saved):
    hub.repositories = {"someone/vilt": {**saved["vilt"], "flax_model.msgpack": b"x", "open_clip.safetensors": b"x"}}

    folder = find_weights(VILT)

    assert sorted(f.name for f in folder.iterdir()) == ["config.json", "model.safetensors", "vocab.txt"]
    assert not any("msgpack" in path for method, path, _ in hub.asked if method == "GET")


def test_shards(hub, saved, tmp_path, monkeypatch):
    small_models.small_vilt().save_pretrained(tmp_path / "s", max_shard_size="100KB")
    shards = {file.name: file.read_bytes() for file in (tmp_path / "s").iterdir()}
    assert len(shards) > 4
    hub.repositories = {"someone/vilt": {**shards, "vocab.txt": saved["vilt"]["vocab.txt"]}}

    wanted = small_models.small_vilt().state_dict()
    found = load_vlm(VILT, device="cpu").model.state_dict()

    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    offline(monkeypatch)
    folder = cached_folder(VILT)
    assert folder is not None
    next(folder.glob("model-*.safetensors")).unlink()
    assert cached_folder(VILT) is None


def test_pickled_shards(hub, saved):
    state = small_models.small_vilt().state_dict()
    names = sorted(state)
    parts = {"pytorch_model-00001-of-00002.bin": names[:9], "pytorch_model-00002-of-00002.bin": names[9:]}
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    files = {"pytorch_model.bin.index.json": json.dumps(index).encode()}
    files |= {file: pickled({name: state[name] for name in part}) for file, part in parts.items()}
    hub.repositories = {"someone/vilt": {**without(saved["vilt"], "model.safetensors", "pytorch_model.bin"), **files}}

    found = load_vlm(VILT, device="cpu").model.state_dict()

    assert all(torch.equal(found[name], state[name]) for name in state)


def test_old_names_of_weights_are_understood(hub, saved):
    """Old checkpoints say LayerNorm.gamma and beta, and hold a table of positions that is no weight any more."""
    state = small_models.small_blip().state_dict()
    old = {
        n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
        for n, v in state.items()
    }
    assert old.keys() != state.keys()
    old["text_encoder.embeddings.position_ids"] = torch.arange(64)[None]
    files = without(saved["blip"], "model.safetensors", "pytorch_model.bin")
    hub.repositories = {"someone/blip": {**files, "pytorch_model.bin": pickled(old)}}

    found = load_vlm(ModelPreset(name="b", family="blip", hub_id="someone/blip"), device="cpu").model.state_dict()

    assert all(torch.equal(found[name], state[name]) for name in state)


def test_a_copy_on_the_hub_gets_the_settings_of_its_architecture_or_is_refused(hub, saved, monkeypatch):
    """Under another name a ViLT would silently get BLIP's layer 8, head 10 and policy itm."""
    hub.repositories = {"someone/vilt": saved["vilt"]}
    with pytest.raises(ModelError, match=r"no built-in preset of family vilt has about .* million weights; write"):
        settle(get_preset("someone/vilt"))
    monkeypatch.setattr(presets, "weights_count", lambda folder: 112_000_000)

    preset = settle(get_preset("someone/vilt"))

    assert preset.settings == get_preset("vilt-coco").settings
    assert (preset.hub_id, preset.source) == ("someone/vilt", "hub, settings of vilt-coco")
    assert load_vlm(preset, device="cpu").name == "someone/vilt"
    size = {"size_px": 32, "layer": 2, "refine": "none"}
    segmenter = Segmenter.from_pretrained("someone/vilt", device="cpu", **size)
    assert (segmenter.config.head, segmenter.config.policy) == ("mean", "all")
    again = SegmenterSpec(model="someone/vilt", settings=size).make(segmenter.vlm)
    assert again.config == segmenter.config


def test_a_revision_is_named_with_the_model(hub, saved):
    hub.repositories = {"someone/vilt": saved["vilt"], "dandelin/vilt-b32-finetuned-coco": saved["vilt"]}
    preset = get_preset("vilt-coco@" + COMMIT)

    assert (preset.hub_id, preset.revision) == ("dandelin/vilt-b32-finetuned-coco", COMMIT)
    assert preset.settings == get_preset("vilt-coco").settings
    assert load_vlm(preset, device="cpu").name == "vilt-coco@" + COMMIT
    with pytest.raises(ModelError, match=r"no revision 'v9'; take main or one .*, as vilt-coco@REVISION"):
        find_weights(get_preset("vilt-coco@v9"))
    with pytest.raises(ModelError, match=r"no revision 'v9'; take main or one .*, as someone/vilt@REVISION"):
        find_weights(get_preset("someone/vilt@v9"))
    with pytest.raises(ConfigError, match="unknown model 'blob"):
        get_preset("blob@main")


def test_pinned_revisions_are_commits():
    """But the one of which no public page names a whole commit; docs/models.md says which."""
    revisions = {preset.name: str(preset.revision) for preset in built_in_presets() if preset.hub_id}
    following = {name for name, revision in revisions.items() if revision == "main"}
    assert following == {"vilt-coco"}
    assert all(re.fullmatch("[0-9a-f]{40}", revisions[name]) for name in revisions.keys() - following)


@pytest.mark.parametrize("family", ["blip", "bridgetower", "blip-2", "vilt"])
def test_a_config_with_nothing_but_what_differs_from_the_librarys_defaults(hub, saved, family):
    """As old repositories have it: no dtype, no version, no key that the library fills in."""
    config = json.loads(saved[family]["config.json"])
    classes = {"blip": "BlipConfig", "bridgetower": "BridgeTowerConfig", "blip-2": "Blip2Config", "vilt": "ViltConfig"}
    defaults = getattr(transformers, classes[family])().to_dict()
    short = {**only_other(config, defaults), "model_type": family}
    assert len(json.dumps(short)) < len(json.dumps(config)) / 2
    hub.repositories = {"someone/it": {**saved[family], "config.json": json.dumps(short).encode()}}

    found = load_vlm(ModelPreset(name="s", family=family, hub_id="someone/it"), device="cpu").model.state_dict()

    wanted = MODELS[family]().state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def only_other(values, defaults):
    """What differs, in nested objects too."""
    found = {}
    for key, value in values.items():
        default = defaults.get(key)
        if isinstance(value, dict) and isinstance(default, dict):
            value, default = only_other(value, default), {}
        if value != default and key not in ("dtype", "transformers_version", "architectures"):
            found[key] = value
    return found
