"""`pnp-ovss serve` as a process: its port, its signals, and Label Studio's protocol with a stand-in for it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from pnp_ovss import Segmenter, SegmenterConfig
from pnp_ovss.errors import ClassNameError, ConfigError, ImageError
from pnp_ovss.testing.fake_vlm import FAKE_PRESET, FakeVLM
from tests.commands import caller
from tests.photos import image_file
from tests.scenes import two_squares

pytest.importorskip("fastapi")
from pnp_ovss.serve.label_studio import Studio, predict, read_interface

CONFIG = """<View><Image name="photo" value="$picture"/>
  <BrushLabels name="brush" toName="photo"><Label value="red"/><Label value="blue &amp; more"/></BrushLabels></View>"""


def serve(*options, **environment):
    command = [sys.executable, "-m", "pnp_ovss", "serve", "--model", str(FAKE_PRESET), "--set", "size_px=96", *options]
    return subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_serves_until_a_signal_and_says_so():
    with serve("--port", "0") as process:
        line = process.stdout.readline()
        address = line.split()[2].rstrip("/,")
        assert json.load(urllib.request.urlopen(f"{address}/health", timeout=300))["status"] == "UP"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0
    assert "stopped" in out
    assert err == ""


@pytest.fixture
def call(monkeypatch, capsys):
    monkeypatch.delenv("PNP_OVSS_TOKEN", raising=False)
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    return caller(monkeypatch, capsys)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--host", "0.0.0.0"], "set PNP_OVSS_TOKEN"),
        (["--label-studio", "http://127.0.0.1:1"], "LABEL_STUDIO_API_KEY"),
    ],
)
def test_what_it_does_not_start_with(call, options, says):
    code, _, err = call("serve", "--model", FAKE_PRESET, *options)
    assert code == 2
    assert says in err
    assert len(err.strip().splitlines()) == 1


def test_a_taken_port_is_one_sentence(call):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, _, err = call("serve", "--model", FAKE_PRESET, "--port", port)
    assert code == 2
    assert err.startswith(f"pnp-ovss: port {port} of 127.0.0.1 cannot be used")
    assert "choose another --port" in err


def test_without_its_packages_one_sentence(call, monkeypatch):
    monkeypatch.setattr("pnp_ovss.cli.serve.find_spec", lambda name: None)
    code, _, err = call("serve", "--model", FAKE_PRESET)
    assert code == 2
    assert "pip install '.[serve]'" in err


PHOTOS = ("/data/a.png", "/data/?d=caf%C3%A9%20a.png")


class Files(BaseHTTPRequestHandler):
    """Label Studio's files, for who has the key; /moved leads elsewhere."""

    def do_GET(self):
        keyed = self.headers.get("Authorization") in ("Token key", "Bearer fresh")
        status = 401 if not keyed else 302 if self.path == "/moved" else 200 if self.path in PHOTOS else 404
        self.send_response(status)
        self.send_header("Location", "http://127.0.0.1:9/")
        self.end_headers()
        self.wfile.write(image_file(two_squares(), "PNG") if status == 200 else b"")

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"access": "fresh" if asked == {"refresh": "a.b.c"} else "no"}).encode())

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def studio():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter(FakeVLM(), SegmenterConfig(layer=2, head=2, size_px=96, refine="none"))


@pytest.mark.parametrize("key", ["key", "a.b.c"])
def test_predictions_are_brushes_of_the_projects_own_names(studio, segmenter, key):
    tasks = [{"data": {"picture": "/data/a.png"}}, {"data": {"picture": "/data/none.png"}}]
    answer = predict(segmenter, Studio(studio, key), {"label_config": CONFIG, "tasks": tasks})
    good, missing = answer["results"]
    expected = segmenter(two_squares(), ["red", "blue & more"])
    assert [region["value"]["brushlabels"] for region in good["result"]] == [[name] for name in expected]
    region = good["result"][0]
    assert (region["from_name"], region["to_name"]) == ("brush", "photo")
    assert (region["original_height"], region["original_width"]) == (96, 128)
    assert 0 < good["score"] <= 1
    assert missing["result"] == []
    assert "404" in missing["error"]


def test_the_brush_is_the_mask(studio, segmenter):
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    answer = predict(
        segmenter, Studio(studio, "key"), {"label_config": CONFIG, "tasks": [{"data": {"picture": "data/a.png"}}]}
    )
    runs = answer["results"][0]["result"][0]["value"]["rle"]
    pixels = brush.decode_rle(runs).reshape(96, 128, 4)[..., 3]
    np.testing.assert_array_equal(pixels > 0, segmenter(two_squares(), ["red", "blue & more"])["red"])


@pytest.mark.parametrize("place", ["http://127.0.0.1:9/a.png", "//evil.example/a.png", "file:///etc/hostname"])
def test_nothing_is_fetched_from_elsewhere(studio, place):
    with pytest.raises(ImageError, match="fetches from there alone"):
        Studio(studio, "key").photo(place)


def test_a_photo_whose_address_has_blanks_or_accents_is_fetched(studio):
    for place in ("/data/?d=caf\u00e9 a.png", "/data/?d=caf%C3%A9%20a.png"):
        assert Studio(studio, "key").photo(place) == image_file(two_squares(), "PNG")


WRONG = ["http://[bad", "\ud800", "", None, ["/data/a.png"], "/data/none \u00e9.png"]


def test_a_photo_that_cannot_be_had_spoils_no_other(studio, segmenter):
    tasks = [{"data": {"picture": place}} for place in [*WRONG, "/data/a.png"]] + [None, {"data": None}]
    results = predict(segmenter, Studio(studio, "key"), {"label_config": CONFIG, "tasks": tasks})["results"]
    said = [result.get("error", "") for result in results]
    assert [bool(error) for error in said] == [True] * len(WRONG) + [False, True, True]
    assert all(len(error.splitlines()) <= 1 for error in said)
    assert json.dumps(results, ensure_ascii=False).encode()
    assert results[len(WRONG)]["result"]


@pytest.mark.parametrize("key", ["secret\n", "secret\u20ac", "a.b.\u20ac"])
def test_a_key_that_cannot_be_sent_is_told_and_not_shown(studio, key):
    with pytest.raises(ImageError, match="is LABEL_STUDIO_API_KEY right") as caught:
        Studio(studio, key).photo("/data/a.png")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("address", ["localhost:8080", "127.0.0.1:8080", "ftp://studio", "http://", "http://["])
def test_an_address_that_is_none_is_told_at_the_start(address):
    with pytest.raises(ConfigError, match="is no address of a Label Studio; write http://HOST:PORT"):
        Studio(address, "key")


def test_a_photo_within_the_task_is_told_without_its_bytes(studio):
    with pytest.raises(ImageError, match="fetches from there alone") as caught:
        Studio(studio, "key").photo("data:image/png;base64," + "A" * 10**5)
    assert len(str(caught.value)) < 400


def test_regions_have_the_label_as_the_project_writes_it(studio, segmenter):
    config = CONFIG.replace('"red"', '" dark  red "').replace("blue &amp; more", "blue")
    tasks = [{"data": {"picture": f"{studio.upper().replace('HTTP', 'http')}/data/a.png"}}]
    (result,) = predict(segmenter, Studio(studio, "key"), {"label_config": config, "tasks": tasks})["results"]
    assert [region["value"]["brushlabels"] for region in result["result"]] == [[" dark  red "], ["blue"]]


@pytest.mark.parametrize("names", [("Red", "red"), ("x" * 400, "red")])
def test_names_that_cannot_be_asked_are_told_when_the_project_is_set_up(names):
    config = CONFIG.replace("red", names[0]).replace("blue &amp; more", names[1])
    with pytest.raises(ClassNameError):
        read_interface(config)


def test_requests_without_tasks(studio, segmenter):
    assert predict(segmenter, Studio(studio, "key"), {"label_config": CONFIG, "tasks": None}) == {"results": []}
    with pytest.raises(ConfigError, match='"tasks" is str'):
        predict(segmenter, Studio(studio, "key"), {"label_config": CONFIG, "tasks": "all"})


def test_an_answer_without_a_token_is_told(studio, monkeypatch):
    monkeypatch.setattr("pnp_ovss.serve.label_studio._open", lambda request: b"<html>")
    with pytest.raises(ImageError, match="gives no access token"):
        Studio(studio, "a.b.c").photo("/data/a.png")


def test_a_redirect_is_not_followed(studio):
    with pytest.raises(ImageError, match="302"):
        Studio(studio, "key").photo("/moved")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("<View>", "no XML"),
        ("<View>\ud800</View>", "no XML"),
        ("<View/>", "no BrushLabels"),
        (CONFIG.replace("BrushLabels", "PolygonLabels"), "no BrushLabels"),
    ],
)
def test_projects_without_brushes_are_told(config, says):
    with pytest.raises(ConfigError, match=says):
        read_interface(config)
