"""The command line with the fake model behind it."""

import pytest
from PIL import Image

from tests.commands import caller
from tests.scenes import two_squares


@pytest.fixture
def run(monkeypatch, capsys):
    """run(*arguments) -> (exit code, standard output, standard error)."""
    return caller(monkeypatch, capsys)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "scene.png"
    Image.fromarray(two_squares()).save(path)
    return path
