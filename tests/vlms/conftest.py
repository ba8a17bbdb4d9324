"""Tokenizers trained once for all adapters; a hub of our own; the training scripts as modules."""

import shutil
import sys
from pathlib import Path

import pytest
import torch

from pnp_ovss.testing.fake_hub import FakeHub, serving
from pnp_ovss.testing.small_models import bpe_files, wordpiece_file
from tests.vlms import originals
from tests.vlms.hub_cases import MODELS


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small WordPiece vocab.txt."""
    return wordpiece_file(tmp_path_factory.mktemp("wordpiece"))


@pytest.fixture(scope="session")
def bpe_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small byte-level BPE."""
    return bpe_files(tmp_path_factory.mktemp("bpe"))


@pytest.fixture
def training(monkeypatch):
    """The folder of scripts as importable modules."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "training"))
    before = set(sys.modules)
    yield __import__
    for name in set(sys.modules) - before:
        if "training" in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


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


@pytest.fixture(scope="session")
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


@pytest.fixture
def albef(tmp_path):
    """A small ALBEF.pth."""
    path = tmp_path / "ALBEF.pth"
    torch.save({"model": originals.random_state(originals.shapes("albef", originals.SMALL["albef"]))}, path)
    return path
