"""Every refusal of the hub, of the line and of the disk is one sentence that says what to do."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pnp_ovss.errors import ModelError, OutputError
from pnp_ovss.presets import ModelPreset, get_preset
from pnp_ovss.testing.fake_hub import COMMIT, FakeHub, serving
from pnp_ovss.vlms.checkpoints.download import download
from pnp_ovss.vlms.checkpoints.hub import cached_folder
from pnp_ovss.vlms.checkpoints.loading import find_weights, load_vlm
from tests.vlms.hub_cases import VILT, without


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
    with pytest.raises(ModelError, match=r"^runs/my-albef \(there is no such folder here\): .* could not be reached"):
        find_weights(get_preset("runs/my-albef"))


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
