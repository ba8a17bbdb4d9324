"""The command line with the fake model behind it."""

import pytest
from PIL import Image

from pnp_ovss import Segmenter
from pnp_ovss.cli import options
from pnp_ovss.testing.fake_vlm import FakeVLM
from tests.commands import caller
from tests.scenes import two_squares


@pytest.fixture
def run(monkeypatch, capsys):
    """run(*arguments) -> (exit code, standard output, standard error), the model replaced by the fake one."""

    def fake(model, *, method=None, device="auto", seed=0, settings=None, **explicit):
        from pnp_ovss.presets import resolve_config
        from pnp_ovss.vlms.loading import find_preset, pick_device

        if model != "pocket":
            find_preset(model)
        pick_device(device)
        given = options.merge_settings(explicit, settings)
        base = {"layer": 2, "head": 2, "size_px": 96, "refine": "none"}
        return Segmenter(FakeVLM(), resolve_config(None, method, **(base | given)), method=method or "preset")

    return caller(monkeypatch, capsys, fake)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "scene.png"
    Image.fromarray(two_squares()).save(path)
    return path
