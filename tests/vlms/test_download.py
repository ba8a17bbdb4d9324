"""The hub's layouts and faults, on a server of our own: what is fetched, checked, resumed, and said."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from huggingface_hub import constants

from pnp_ovss import Segmenter, presets
from pnp_ovss.errors import ConfigError, ModelError, OutputError
from pnp_ovss.presets import ModelPreset, built_in_presets, get_preset
from pnp_ovss.spec import SegmenterSpec
from pnp_ovss.testing import small_models
from pnp_ovss.testing.fake_hub import COMMIT, FakeHub, serving
from pnp_ovss.testing.small_decoders import save_decoder
from pnp_ovss.vlms.checkpoints.digests import damaged_files
from pnp_ovss.vlms.checkpoints.download import download
from pnp_ovss.vlms.checkpoints.hub import cached_folder, converted_folder
from pnp_ovss.vlms.checkpoints.loading import fetch_weights, find_weights, load_vlm, settle

MODELS = {
    "blip": small_models.small_blip,
    "bridgetower": small_models.small_bridgetower,
    "blip-2": small_models.small_blip2,
    "vilt": small_models.small_vilt,
}
VILT = ModelPreset(name="v", family="vilt", hub_id="someone/vilt")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty hub; this process's hub library looks there and into a fresh cache, and never waits."""
    empty = FakeHub({})
    with serving(empty) as endpoint:
        constants = "huggingface_hub.constants."
        monkeypatch.setattr(constants + "ENDPOINT", endpoint)
        monkeypatch.setattr(
            constants + "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants + "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants + "HF_HOME", str(tmp_path / "home"))
        monkeypatch.setattr(constants + "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        yield empty


@pytest.fixture(scope="module")
def saved(tmp_path_factory, vocabulary, bpe_folder):
    """{family: {file: content}} as transformers writes them, the weights in safetensors and as a pickle."""
    found = {}
    for family, make in MODELS.items():
        folder, model = tmp_path_factory.mktemp(family), make()
        model.save_pretrained(folder)
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
        for file in [vocabulary] if family != "bridgetower" else bpe_folder.iterdir():
            shutil.copy(file, folder / file.name)
        found[family] = {file.name: file.read_bytes() for file in folder.iterdir()}
    return found


def without(files, *names):
    return {name: content for name, content in files.items() if name not in names}


def offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


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


def pickled(state):
    import io

    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


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


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_corrupt_file_is_found_by_its_hash_and_fetched_again(hub, saved, name, capsys):
    hub.repositories = {"someone/vilt": saved["vilt"]}
    hub.corrupt = {name: 1}

    folder = find_weights(VILT)

    assert (folder / name).read_bytes() == saved["vilt"][name]
    assert f"{name}: not as the hub has it" in capsys.readouterr().err


def test_a_file_that_stays_corrupt_is_deleted_and_said(hub, saved):
    hub.repositories = {"someone/vilt": saved["vilt"]}
    hub.corrupt = {"model.safetensors": 9}

    with pytest.raises(ModelError, match=r"model\.safetensors of someone/vilt came damaged twice"):
        find_weights(VILT)
    assert cached_folder(VILT) is None


@pytest.mark.parametrize("damage", [lambda content: content[:-1] + b"?", lambda content: content[: len(content) // 2]])
def test_a_file_damaged_or_halved_in_the_cache_is_fetched_again_by_models_fetch(hub, saved, damage):
    hub.repositories = {"someone/vilt": saved["vilt"]}
    weights = find_weights(VILT) / "model.safetensors"
    blob = weights.resolve()
    blob.write_bytes(damage(blob.read_bytes()))
    assert damaged_files(weights.parent) == [weights]

    folder = fetch_weights(VILT)

    assert damaged_files(folder) == []
    assert (folder / "model.safetensors").read_bytes() == saved["vilt"]["model.safetensors"]


@pytest.mark.parametrize("pickled", [False, True])
def test_a_file_of_the_cache_that_does_not_load_is_fetched_again(hub, saved, pickled):
    hub.repositories = {"someone/vilt": without(saved["vilt"], *(["model.safetensors"] if pickled else []))}
    folder = find_weights(VILT)
    assert folder is not None
    weights = (folder / "model.safetensors").resolve()
    size = weights.stat().st_size
    with weights.open("r+b") as file:
        file.write(b"\xff" * 1000)

    assert load_vlm(VILT, device="cpu").name == "v"
    assert weights.stat().st_size == size
    assert damaged_files(folder) == []


def test_half_a_file_that_calls_itself_whole_is_not_taken(hub, saved):
    hub.repositories = {"someone/vilt": saved["vilt"]}
    hub.short = {"model.safetensors": 1}

    with pytest.raises(ModelError, match="the file came incomplete; call again"):
        find_weights(VILT)
    assert cached_folder(VILT) is None
    assert (find_weights(VILT) / "model.safetensors").read_bytes() == saved["vilt"]["model.safetensors"]


def test_a_broken_connection_goes_on_where_it_stopped(hub, saved, monkeypatch):
    hub.repositories = {"someone/vilt": saved["vilt"]}
    hub.broken = {"model.safetensors": 1}
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100_000)  # more than one in this small file

    folder = find_weights(VILT)

    assert (folder / "model.safetensors").read_bytes() == saved["vilt"]["model.safetensors"]
    ranges = [given for method, path, given in hub.asked if method == "GET" and path.endswith("model.safetensors")]
    assert ranges[0] == ""
    assert ranges[1].startswith("bytes=")


def test_a_connection_that_always_breaks_is_a_sentence(hub, saved):
    hub.repositories = {"someone/vilt": saved["vilt"]}
    hub.broken = {"vocab.txt": 99}

    with pytest.raises(ModelError, match="the connection broke again and again; call again: finished files stay"):
        find_weights(VILT)
    hub.broken, hub.asked = {}, []
    assert (find_weights(VILT) / "vocab.txt").read_bytes() == saved["vilt"]["vocab.txt"]
    assert not any(method == "GET" and path.endswith("config.json") for method, path, _ in hub.asked)


def test_what_a_killed_download_left_is_deleted_and_what_another_process_fetches_is_not(hub, saved):
    from filelock import FileLock

    hub.repositories = {"someone/vilt": saved["vilt"]}
    home = Path(constants.HF_HUB_CACHE)
    blobs, locks = home / "models--someone--vilt" / "blobs", home / ".locks" / "models--someone--vilt"
    blobs.mkdir(parents=True)
    locks.mkdir(parents=True)
    left, busy = blobs / "aa.0123abcd.incomplete", blobs / "bb.0123abcd.incomplete"
    left.write_bytes(b"half")
    busy.write_bytes(b"half")

    with FileLock(locks / "bb.lock"):
        find_weights(VILT)

    assert not left.exists()
    assert busy.exists()


def test_a_download_that_is_really_killed_leaves_nothing_behind_the_next(hub, saved):
    """Kill -9 in the middle of the weights, in a process of its own."""
    hub.repositories = {"someone/vilt": saved["vilt"]}
    hub.stuck = "model.safetensors"
    code = (
        "from pnp_ovss.presets import ModelPreset; from pnp_ovss.vlms.checkpoints.download import download;"
        "download(ModelPreset(name='v', family='vilt', hub_id='someone/vilt'))"
    )
    where = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": constants.HF_HOME}
    with subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, **where}, stderr=subprocess.DEVNULL
    ) as child:
        assert hub.waiting.wait(60)
        child.kill()
    blobs = Path(constants.HF_HUB_CACHE) / "models--someone--vilt" / "blobs"
    assert len(list(blobs.glob("*.incomplete"))) == 1
    assert cached_folder(VILT) is None
    hub.stuck = ""

    folder = find_weights(VILT)

    assert (folder / "model.safetensors").read_bytes() == saved["vilt"]["model.safetensors"]
    assert list(blobs.glob("*.incomplete")) == []


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
    """But those of which no public page names a commit; docs/models.md says which."""
    revisions = {preset.name: str(preset.revision) for preset in built_in_presets() if preset.hub_id}
    following = {name for name, revision in revisions.items() if revision == "main"}
    assert following == {
        "vilt-coco",
        "bridgetower-base-itm-mlm",
        "bridgetower-large-itm-mlm",
        "bridgetower-large-itm-mlm-itc",
    }
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


def unknown_name(*_, **__):
    raise socket.gaierror(-2, "Name or service not known")


def no_answer(*_, **__):
    raise TimeoutError("timed out")


@pytest.mark.parametrize(
    ("where", "failure"), [("socket.getaddrinfo", unknown_name), ("socket.create_connection", no_answer)]
)
def test_a_name_that_no_server_has_and_a_server_that_never_answers(monkeypatch, tmp_path, where, failure):
    """The machine is offline, the address is wrong, or a firewall swallows what is sent; no request leaves."""
    monkeypatch.setattr(where, failure)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://hub.invalid")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(
        ModelError, match=r"the hub http://hub\.invalid could not be reached .*hf download .*--revision"
    ) as error:
        find_weights(get_preset("blip-large-flickr"))
    assert "\n" not in str(error.value)


def test_models_check_reads_every_byte(hub, saved):
    """A number inside a tensor is not what the hub has: loading cannot see it, the hash does."""
    from pnp_ovss.model_check import check_model

    hub.repositories = {"someone/vilt": saved["vilt"]}
    weights = find_weights(VILT) / "model.safetensors"
    blob = weights.resolve()
    content = bytearray(blob.read_bytes())
    content[-1000:-996] = b"\x00\x00\x80?"
    blob.write_bytes(content)
    load_vlm(VILT, device="cpu")  # silently

    with pytest.raises(ModelError, match=r"model\.safetensors is damaged: its content is not what its hash says"):
        check_model(VILT, device="cpu", size_px=32, layer=2, head=1)


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (401, "RepoNotFound", "no such public model"),
        (403, "GatedRepo", "accept the terms at http.*someone/vilt"),
        (404, "RepoNotFound", "no such"),
        (429, "", "too many requests"),
        (500, "", r"a fault of its own \(500\)"),
        (503, "", r"a fault of its own \(503\)"),
    ],
)
def test_each_refusal_is_a_sentence(hub, saved, status, code, sentence):
    hub.repositories = {"someone/vilt": saved["vilt"]}
    hub.statuses = {"someone/vilt": (status, code)}

    with pytest.raises(ModelError, match=sentence) as error:
        find_weights(VILT)
    assert "\n" not in str(error.value)


def test_a_wrong_revision_a_wrong_name_and_no_weights(hub, saved):
    hub.repositories = {"someone/vilt": saved["vilt"], "someone/words": {"vocab.txt": b"a"}}

    with pytest.raises(ModelError, match="no revision 'v9'"):
        find_weights(ModelPreset(name="v", family="vilt", hub_id="someone/vilt", revision="v9"))
    with pytest.raises(ModelError, match="OWNER/NAME"):
        find_weights(ModelPreset(name="v", family="vilt", hub_id="some one/vi lt"))
    with pytest.raises(ModelError, match=r"neither \*\.safetensors nor pytorch_model\.bin"):
        find_weights(ModelPreset(name="v", family="vilt", hub_id="someone/words"))


def test_a_full_disk_is_said_before_and_while(hub, saved, monkeypatch):
    hub.repositories = {"someone/vilt": saved["vilt"]}
    full = shutil.disk_usage("/")._replace(free=10)
    with monkeypatch.context() as patched:
        patched.setattr("shutil.disk_usage", lambda path: full)
        with pytest.raises(ModelError, match=r"has 0\.0 MB free and someone/vilt may need"):
            find_weights(VILT)

    def no_room(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", no_room)
    with pytest.raises(ModelError, match=r"the disk of .* is full; make room or set HF_HOME"):
        find_weights(VILT)


def test_a_disk_that_is_full_when_the_pickle_is_rewritten(hub, saved):
    """The library for safetensors has an error of its own for it; a process may write files of 1 MB here."""
    resource = pytest.importorskip("resource")
    hub.repositories = {"someone/vilt": without(saved["vilt"], "model.safetensors")}
    download(VILT)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
        with pytest.raises(OutputError, match=r"cannot write to .*; make room or choose") as error:
            find_weights(VILT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert "\n" not in str(error.value)
    assert cached_folder(VILT) is None
    assert load_vlm(VILT, device="cpu").name == "v"


def test_no_connection(monkeypatch, tmp_path):
    """A port where nobody listens, and a machine that is told to stay offline."""
    preset = get_preset("blip-large-flickr")
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    for off in (False, True):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", off)
        with pytest.raises(ModelError) as error:
            find_weights(preset)
        for part in ("Salesforce/blip-itm-large-flickr", "safetensors", "hf download", "--model pocket"):
            assert part in str(error.value)
        assert "\n" not in str(error.value)


def test_the_command_fetches_says_and_finds_it_again(saved, tmp_path):
    """In a process of its own, by HF_ENDPOINT and HF_HOME alone."""
    hub = FakeHub({"dandelin/vilt-b32-finetuned-coco": saved["vilt"]})
    command = [sys.executable, "-c", "from pnp_ovss.cli.main import main; main()", "models", "fetch", "vilt-coco"]
    with serving(hub) as endpoint:
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        environment = {**kept, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path), "COLUMNS": "200"}
        first = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        asked = len(hub.asked)
        second = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert first.stdout == second.stdout
    assert COMMIT in first.stdout
    assert "fetching dandelin/vilt-b32-finetuned-coco" in first.stderr
    assert "model.safetensors" in first.stderr
    assert len(hub.asked) == asked
    assert Path(first.stdout.strip(), "vocab.txt").is_file()
