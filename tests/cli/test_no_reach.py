"""No command reaches out: a hook in the process and in those that it starts notes each address that is asked for."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from pnp_ovss.testing.fake_vlm import FAKE_PRESET
from tests.scenes import two_squares

pytestmark = pytest.mark.slow

HOOK = """
import os, sys
def note(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        address = (arguments[0],)
    else:
        return
    host = address[0] if isinstance(address, tuple) else "a file"
    host = host.decode() if isinstance(host, bytes) else host
    if host not in ("127.0.0.1", "::1", "localhost", "", "a file", None, "0.0.0.0"):
        with open(os.environ["REACHED"], "a") as file:
            file.write(f"{event} {address}\\n")
sys.addaudithook(note)
"""


@pytest.fixture
def start(tmp_path):
    """start(*words) -> the command as a process; the file `reached` holds what it asked for."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
    Image.fromarray(two_squares()).save(tmp_path / "a.png")
    paths = [str(tmp_path / "hook"), str(Path(__file__).parents[2] / "src"), os.environ.get("PYTHONPATH", "")]
    reached = str(tmp_path / "reached")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "REACHED": reached}

    def begin(*words):
        command = [sys.executable, "-m", "pnp_ovss", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, env=environment, cwd=tmp_path, **pipes)

    return begin


def asked_for(folder: Path) -> str:
    path = folder / "reached"
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize(
    "words",
    [
        ("segment", "a.png", "-c", "cat", "--out", "o"),
        ("demo", "--model", str(FAKE_PRESET), "--out", "o"),
        ("batch", "a.png", "-c", "cat", "--workers", "1", "--out", "o"),
        ("gallery", "a.png", "-c", "cat", "--out", "o"),
        ("models",),
    ],
    ids=lambda words: words[0],
)
def test_a_command_asks_for_no_address(start, tmp_path, words):
    if words[0] == "demo" and find_spec("skimage") is None:
        pytest.skip("needs scikit-image")
    process = start(*words)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    assert asked_for(tmp_path) == ""


def test_the_page_asks_for_no_address(start, tmp_path):
    pytest.importorskip("gradio")
    process = start("web", "--port", "0")
    try:
        address = next(found[0] for line in process.stdout if (found := re.search(r"http://[\d.]+:\d+/?", line)))
        with urllib.request.urlopen(address, timeout=600) as answer:
            assert b"gradio" in answer.read()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=600)
    assert asked_for(tmp_path) == ""


def test_the_hook_sees_what_is_asked_for(start, tmp_path):
    """A hub id that is not here is asked for at the hub."""
    process = start("segment", "a.png", "-c", "cat", "--model", "no-such/model", "--out", "o")
    process.communicate(timeout=600)
    assert process.returncode == 2
    assert "socket." in asked_for(tmp_path)
