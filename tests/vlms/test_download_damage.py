"""What comes damaged, half or from a killed download is found by its hash and fetched again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from pnp_ovss.errors import ModelError
from pnp_ovss.vlms.checkpoints.digests import damaged_files
from pnp_ovss.vlms.checkpoints.hub import cached_folder
from pnp_ovss.vlms.checkpoints.loading import fetch_weights, find_weights, load_vlm
from tests.vlms.hub_cases import VILT, without


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
