"""`pnp-ovss web` before it serves."""

import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from pnp_ovss.cli import web
from pnp_ovss.cli.photos import DEMO
from pnp_ovss.errors import ConfigError, DependencyError
from pnp_ovss.web.port import bound


def test_without_gradio_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("pnp_ovss.extras.find_spec", lambda name: None)
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


def test_a_taken_port_is_said_before_a_model_is_loaded(monkeypatch):
    pytest.importorskip("gradio")
    monkeypatch.setattr(web.o.SegmenterSpec, "make", lambda self: pytest.fail("a model was loaded"))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 cannot be used .*; choose another --port"):
            web.web(port=port)


def test_loading_a_model_of_the_hub_prints_no_bars():
    """gradio imports the hub's library, which asks the environment once."""
    pytest.importorskip("gradio")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", HUSHED], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr


HUSHED = """
from pnp_ovss.cli import web


def make(self):
    from huggingface_hub.utils import are_progress_bars_disabled

    print(are_progress_bars_disabled())
    raise SystemExit


web.o.SegmenterSpec.make = make
web.web(port=0)
"""


def test_a_host_that_is_not_ours_is_said():
    with pytest.raises(ConfigError, match="choose another --host"), bound("192.0.2.1", 0):
        pass


@pytest.mark.filterwarnings("ignore")  # gradio's and its server's own deprecations
def test_a_stopped_page_says_so_and_ends_well(monkeypatch, capsys):
    """SIGTERM arrives as the interrupt that `main` makes of it."""
    pytest.importorskip("gradio")

    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(web.o.SegmenterSpec, "make", lambda self: None)
    monkeypatch.setattr(web.time, "sleep", stop)
    monkeypatch.setattr(web.signal, "signal", lambda *_: None)
    monkeypatch.setattr("pnp_ovss.web.server.served", lambda *_: nullcontext("http://127.0.0.1:1/"))
    assert web.web(port=0) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "stopped; photos and results of the page are deleted"
