"""`pnp-ovss web` before it serves."""

from pathlib import Path

import pytest

from pnp_ovss.cli import web
from pnp_ovss.cli.segment import DEMO
from pnp_ovss.errors import DependencyError


def test_without_gradio_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(web, "find_spec", lambda name: None)
    with pytest.raises(DependencyError, match=r"pip install '.\[web\]'"):
        web.web()


def test_offers_only_models_whose_weights_are_here(monkeypatch):
    monkeypatch.setattr("pnp_ovss.vlms.checkpoints.hub.cached_folder", lambda preset: None)
    assert web.offered_models("blip-base-coco") == ["blip-base-coco", "pocket"]
    here = Path("cache")
    monkeypatch.setattr(
        "pnp_ovss.vlms.checkpoints.hub.cached_folder", lambda p: here if p.name == "blip-large-coco" else None
    )
    assert web.offered_models("pocket") == ["pocket", "blip-large-coco"]


def test_examples_are_photographs_with_names(monkeypatch):
    assert all(Path(photo).is_file() and "," in names for photo, names in web.examples())
    assert len(web.examples()) == len(DEMO)

    def missing():
        raise DependencyError("no scikit-image")

    monkeypatch.setattr(web, "skimage_folder", missing)
    assert web.examples() == []
