"""Photos as programs hold them: open files, tensors, addresses of the web (a server on loopback)."""

import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch

from pnp_ovss import Segmenter, SegmenterConfig, fetching
from pnp_ovss.errors import ImageError
from pnp_ovss.images import read_image
from pnp_ovss.testing.fake_vlm import FakeVLM
from tests.photos import PHOTO, image_file

PNG = image_file(PHOTO, "PNG")


class Pictures(BaseHTTPRequestHandler):
    """/photo is one; the others are what a photo's address should not be."""

    def do_GET(self):
        answers = {
            "/photo": (200, {"Content-Type": "image/png"}, PNG),
            "/caf%C3%A9%20au%20lait": (200, {"Content-Type": "image/png"}, PNG),
            "/plain": (200, {"Content-Type": "application/octet-stream"}, PNG),
            "/page": (200, {"Content-Type": "text/html"}, b"<html>"),
            "/says-large": (200, {"Content-Type": "image/png", "Content-Length": str(1 << 40)}, b""),
            "/moved": (302, {"Location": "/photo"}, b""),
            "/circle": (302, {"Location": "/circle?again"}, b""),
            "/circle?again": (302, {"Location": "/circle"}, b""),
            "/to-file": (302, {"Location": "file:///etc/hostname"}, b""),
        }
        if self.path.startswith("/hops/"):
            left = int(self.path.removeprefix("/hops/")) - 1
            answers[self.path] = (302, {"Location": f"/hops/{left}" if left else "/photo"}, b"")
        status, headers, body = answers.get(self.path, (404, {}, b""))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("path", ["photo", "plain", "moved", "hops/3", "caf\u00e9 au%20lait"])
def test_an_address_is_fetched_where_it_is_asked_for(address, path):
    np.testing.assert_array_equal(read_image(f"{address}/{path}", web=True), PHOTO)


def test_the_segmenter_fetches_and_the_reader_alone_does_not(address):
    segmenter = Segmenter(FakeVLM(), SegmenterConfig(layer=2, head=2, size_px=96, refine="none"))
    result = segmenter(f"{address}/photo", ["red"])
    np.testing.assert_array_equal(result.image, PHOTO)
    assert result.image_name == "photo"
    with pytest.raises(ImageError, match="addresses are not read here"):
        read_image(f"{address}/photo")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("page", "is text/html, not a picture"),
        ("says-large", "larger than 50 MiB"),
        ("circle", "redirect"),
        ("hops/4", "redirect"),
        ("to-file", "file:///etc/hostname"),
        ("missing", "answers 404"),
    ],
)
def test_what_is_no_photo_is_one_sentence(address, path, says):
    with pytest.raises(ImageError, match=says):
        read_image(f"{address}/{path}", web=True)


def test_more_bytes_than_allowed_are_not_kept(address, monkeypatch):
    monkeypatch.setattr(fetching, "MAX_BYTES", 100)
    with pytest.raises(ImageError, match="larger than"):
        fetching.fetch(f"{address}/photo")


def test_no_server_and_no_host():
    with pytest.raises(ImageError, match="cannot be fetched"):
        fetching.fetch("http://127.0.0.1:9/a.png")
    for nowhere in ("http:///a.png", "http://[bad", "http://example.org/\ud800"):
        with pytest.raises(ImageError, match="cannot be fetched"):
            fetching.fetch(nowhere)


def test_a_public_address_does_not_lead_into_this_network(monkeypatch):
    private = {"http://public.example/a": False, "http://router.example/": True}
    monkeypatch.setattr(fetching, "is_private", private.__getitem__)
    request = fetching.urllib.request.Request("http://public.example/a")
    with pytest.raises(ImageError, match="is not followed"):
        fetching._Redirects().redirect_request(request, io.BytesIO(), 302, "", {}, "http://router.example/")


def test_an_open_file(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    with open(tmp_path / "a.png", "rb") as file:
        np.testing.assert_array_equal(read_image(file), PHOTO)
    with open(tmp_path / "a.png", encoding="latin-1") as file, pytest.raises(ImageError, match="mode 'rb'"):
        read_image(file)
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(file)


def test_a_tensor_is_channels_first():
    tensor = torch.from_numpy(PHOTO).permute(2, 0, 1)
    np.testing.assert_array_equal(read_image(tensor), PHOTO)
    np.testing.assert_array_equal(read_image(tensor.double() / 255), PHOTO)
    np.testing.assert_array_equal(read_image(tensor[:1]), PHOTO[:, :, :1].repeat(3, axis=2))
    every = torch.arange(256, dtype=torch.uint8).expand(3, 1, 256)
    for dtype in (torch.float32, torch.float16):
        assert read_image(every.to(dtype) / 255)[0, :, 0].tolist() == list(range(256))
    trained = (tensor.float() / 255).requires_grad_()
    np.testing.assert_array_equal(read_image(trained), PHOTO)


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        (torch.zeros(4, 5, 3), r"\(3, H, W\)"),
        (torch.zeros(3, 4, 5, dtype=torch.int64), "of torch.int64"),
        (torch.full((3, 4, 5), 255.0), "divide by 255"),
        (torch.full((3, 4, 5), float("nan")), r"must lie in \[0, 1\]"),
        (torch.zeros(3, 0, 5), "an array must be"),
    ],
)
def test_other_tensors_are_refused(tensor, says):
    with pytest.raises(ImageError, match=says):
        read_image(tensor)
