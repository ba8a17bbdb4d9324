"""Tokenizers trained once for all adapters."""

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
