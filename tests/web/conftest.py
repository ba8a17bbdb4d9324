"""The page with a small fake model, served to the system's Chromium."""

import time

import numpy as np
import pytest
from PIL import Image

from pnp_ovss import Segmenter
from pnp_ovss.testing.fake_vlm import FakeVLM
from tests.scenes import two_squares
from tests.web.chromium import CHROMIUM, CONFIG


class SlowVLM(FakeVLM):
    """Takes its time, so that a second person comes while the first is served."""

    pause_s = 0.0

    def encode(self, pixels, kept=None):
        time.sleep(self.pause_s)
        return super().encode(pixels, kept)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two photos, one that is none, and one over the limit of 1 MB."""
    folder = tmp_path_factory.mktemp("photos")
    Image.fromarray(two_squares(192, 256)).save(folder / "squares.png")
    Image.fromarray(two_squares()[40:, 70:]).save(folder / "blue.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    noise = np.random.default_rng(0).integers(0, 256, (800, 800, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "large.png")
    return folder


@pytest.fixture(scope="module")
def vlm():
    return SlowVLM()


@pytest.fixture(scope="module")
def address(vlm, photos):
    from pnp_ovss.web.fields import Offer
    from pnp_ovss.web.server import ServerConfig, served

    offer = Offer(["blip-large-flickr"], [(str(photos / "squares.png"), "red, blue")])
    with served(lambda _: Segmenter(vlm, CONFIG), offer, ServerConfig(port=0, max_upload_mb=1)) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, address):
    """visit(width=...) -> a page in a session of its own; every request and page error is noted."""
    contexts = []

    def open_page(width=1200):
        context = browser.new_context(viewport={"width": width, "height": 900}, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.requested, page.failed = [], []
        page.on("request", lambda request: page.requested.append(request.url))
        page.on("pageerror", lambda error: page.failed.append(str(error)))
        page.goto(address)
        page.get_by_role("button", name="Segment", exact=True).wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
