"""How the page is served, seen from the system's Chromium and from other programs: `pytest -m e2e`."""

import os
import threading
from pathlib import Path

import pytest

from pnp_ovss import Segmenter
from pnp_ovss.errors import ConfigError
from pnp_ovss.testing.fake_vlm import FakeVLM
from tests.web.chromium import CONFIG, MARKS, ask, legend

pytest.importorskip("gradio")
pytest.importorskip("playwright.sync_api")
pytestmark = MARKS


def test_nothing_is_requested_from_elsewhere(visit, photos, address):
    page = visit()
    page.get_by_text("Options").click()
    ask(page, photos / "squares.png", "red")
    page.get_by_text("Done. Found: red.").wait_for()
    outside = [url for url in page.requested if not url.startswith((address, "data:", "blob:"))]
    assert len(page.requested) > 10
    assert outside == []
    refused = page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'let through', e => 'refused')")
    blocked = page.evaluate(
        """() => new Promise(done => {
            document.addEventListener('securitypolicyviolation', e => done(e.violatedDirective));
            document.head.append(Object.assign(document.createElement('script'), {src: 'http://127.0.0.1:9/x.js'}));
            setTimeout(() => done('none'), 3000); })"""
    )
    assert (refused, blocked) == ("refused", "script-src-elem")


def test_uploads_over_the_limit_are_refused(visit, photos):
    page = visit()
    page.set_input_files("#photo input[type=file]", photos / "large.png")
    page.get_by_text("exceed the maximum allowed size of 1.0 Mb").wait_for()


def test_endpoint_with_a_name(address, photos):
    client = pytest.importorskip("gradio_client")
    answer = client.Client(address, verbose=False).predict(
        client.handle_file(str(photos / "squares.png")), "red, green", api_name="/segment"
    )
    assert [entry["name"] for entry in answer["classes"]] == ["red", "green"]
    assert list(answer["rle"]) == ["red"]


def test_two_people_at_once(visit, photos, vlm):
    first, second = visit(), visit()
    vlm.pause_s = 0.5
    try:
        ask(first, photos / "squares.png", "red")
        ask(second, photos / "blue.png", "blue")
        first.get_by_text("Done. Found: red.").wait_for()
        second.get_by_text("Done. Found: blue.").wait_for()
    finally:
        vlm.pause_s = 0.0
    assert legend(first)[0].startswith("red")
    assert legend(second)[0].startswith("blue")


def test_headers_and_foreign_host_names(address):
    import httpx

    answer = httpx.get(address)
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert httpx.get(address, headers={"Host": "evil.example"}).status_code == 400


def test_files_are_gone_when_the_page_stops(photos):
    from pnp_ovss.web.fields import Offer
    from pnp_ovss.web.server import ServerConfig, served

    threads = threading.active_count()
    with served(lambda _: Segmenter(FakeVLM(), CONFIG), Offer(["blip-large-flickr"]), ServerConfig(port=0)) as address:
        folder = Path(os.environ["GRADIO_TEMP_DIR"])
        assert folder.is_dir()
        assert address.startswith("http://127.0.0.1:")
    assert not folder.exists()
    assert threading.active_count() <= threads + 3


def test_a_taken_port_is_an_error_in_words(address):
    from pnp_ovss.web.fields import Offer
    from pnp_ovss.web.server import ServerConfig, served

    port = int(address.rstrip("/").rsplit(":", 1)[1])
    with (
        pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 cannot be used"),
        served(lambda _: None, Offer(["blip-large-flickr"]), ServerConfig(port=port)),
    ):
        pass
