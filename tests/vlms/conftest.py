"""Tokenizers trained once for all adapters; the training scripts as modules."""

import sys
from pathlib import Path

import pytest

from pnp_ovss.testing.small_models import bpe_files, wordpiece_file


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
