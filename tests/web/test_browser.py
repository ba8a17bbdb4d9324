"""The page in the system's Chromium: `pytest -m e2e` with the extras web and e2e."""

import json
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pnp_ovss import Segmenter, SegmenterConfig
from pnp_ovss.errors import ConfigError
from pnp_ovss.testing.fake_vlm import FakeVLM
from tests.scenes import two_squares

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore"),  # gradio's and its server's own deprecations
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]

CONFIG = SegmenterConfig(layer=2, head=2, size_px=96, refine="pamr", drops=2)


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
    from pnp_ovss.web.server import Offer, ServerConfig, served

    offer = Offer(["blip-large-flickr"], [(str(photos / "squares.png"), "red, blue")])
    with served(lambda _: Segmenter(vlm, CONFIG), offer, ServerConfig(port=0, max_upload_mb=1)) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
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


def ask(page, photo, names):
    page.set_input_files("#photo input[type=file]", photo)
    page.locator("#photo img").wait_for()
    page.get_by_label("Class names").fill(names)
    page.get_by_role("button", name="Segment", exact=True).click()


def legend(page):
    return page.locator("#masks .legend-item").all_inner_texts()


def test_upload_segment_step_toggle_download(visit, photos, tmp_path):
    page = visit()
    ask(page, photos / "squares.png", "red, traffic light, blue")
    page.get_by_text("Done. Found: red; blue.").wait_for()
    page.locator("#masks img.mask").nth(1).wait_for()
    assert [text.split()[0] for text in legend(page)] == ["red", "blue"]
    assert "traffic light" in page.locator("table.classes tr", has_text="none").inner_text()

    page.screenshot(path=tmp_path / "page.png", full_page=True)
    colours = np.asarray(Image.open(tmp_path / "page.png").convert("RGB")).reshape(-1, 3)
    assert (colours == [230, 159, 0]).all(axis=1).sum() > 100  # the outline of class 1 is on the screen

    page.get_by_label("8 refiner densecrf").focus()
    page.keyboard.press("ArrowUp")
    page.get_by_text("Step 7 of 8: blur.").wait_for()
    page.get_by_label("6 drop 4").check()
    page.get_by_text("Step 6 of 8: drop 4.").wait_for()
    page.get_by_text("What the model saw in this pass").wait_for()
    page.get_by_role("checkbox", name="red", exact=True).uncheck()
    playwright.expect(page.locator("#masks .legend-item")).to_have_count(1)
    assert legend(page)[0].startswith("blue")

    with page.expect_download() as download:
        page.locator("#get-json").click()
    record = json.loads(Path(download.value.path()).read_text("utf-8"))
    assert download.value.suggested_filename == "squares.json"
    assert record["image"] == "squares.png"
    assert [c["name"] for c in record["classes"]] == ["red", "traffic light", "blue"]
    with page.expect_download() as download:
        page.locator("#get-labels").click()
    assert np.unique(np.asarray(Image.open(download.value.path()))).tolist() == [0, 1, 3]
    assert page.failed == []


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


def test_steps_and_thresholds_by_keyboard_alone(visit, photos):
    page = visit()
    ask(page, photos / "squares.png", "red, blue")
    page.get_by_text("Done. Found: red; blue.").wait_for()
    page.locator("#step input").last.focus()
    for key, step in (
        ("ArrowLeft", "Step 7 of 8: blur."),
        ("ArrowUp", "Step 6 of 8"),
        ("ArrowDown", "Step 7 of 8: blur."),
    ):
        page.keyboard.press(key)
        page.get_by_text(step).wait_for()
    page.locator("#match-now input[type=range]").focus()
    page.keyboard.press("End")
    page.get_by_text("Done. Found: none of the classes.").wait_for()
    page.get_by_text("the best is").wait_for()


def test_example_by_keyboard_alone(visit):
    page = visit()
    page.get_by_role("gridcell").first.focus()
    page.keyboard.press("Enter")
    playwright.expect(page.get_by_label("Class names")).to_have_value("red, blue")
    page.get_by_label("Class names").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent.trim()") == "Segment"
    page.keyboard.press("Enter")
    page.get_by_text("Done. Found: red; blue.").wait_for()


@pytest.mark.parametrize(
    ("photo", "names", "sentence"),
    [
        (None, "red", "there is no photo yet"),
        ("squares.png", "", "no class names were given"),
        ("squares.png", "red, red", "class name 'red' is given twice"),
        ("broken.png", "red", "broken.png cannot be decoded"),
    ],
)
def test_errors_are_sentences_and_the_page_goes_on(visit, photos, photo, names, sentence):
    page = visit()
    if photo:
        page.set_input_files("#photo input[type=file]", photos / photo)
        page.locator("#photo img").wait_for(state="attached")
    page.get_by_label("Class names").fill(names)
    page.get_by_role("button", name="Segment", exact=True).click()
    alert = page.get_by_role("alert").filter(has_text=sentence)
    alert.wait_for()
    assert "Traceback" not in page.inner_text("body")


def test_uploads_over_the_limit_are_refused(visit, photos):
    page = visit()
    page.set_input_files("#photo input[type=file]", photos / "large.png")
    page.get_by_text("exceed the maximum allowed size of 1.0 Mb").wait_for()


def test_phone_width(visit, photos, tmp_path):
    page = visit(width=375)
    ask(page, photos / "squares.png", "red, blue")
    page.get_by_text("Done. Found: red; blue.").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    for name in ("Masks (PNG)", "Overlay (PNG)", "Numbers (JSON)"):
        box = page.get_by_role("button", name=name).or_(page.get_by_text(name)).first.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 375


def test_thresholds_are_moved_without_another_run(visit, photos, vlm):
    page = visit()
    ask(page, photos / "squares.png", "red, blue")
    page.get_by_text("Done. Found: red; blue.").wait_for()
    encoded, before = vlm.encoded, page.locator("table.classes").inner_text()
    number = page.locator("#match-now input[type=number]")
    number.fill("1")
    number.press("Enter")
    number.blur()
    page.get_by_text("Done. Found: none of the classes.").wait_for()
    assert page.locator("table.classes").inner_text() != before
    assert vlm.encoded == encoded


def test_a_changed_question_marks_the_result_as_old_and_a_new_run_clears_errors(visit, photos):
    page = visit()
    page.get_by_label("Class names").fill("red")
    page.get_by_label("Class names").press("Enter")
    page.get_by_role("alert").filter(has_text="there is no photo yet").wait_for()
    ask(page, photos / "squares.png", "red")
    page.get_by_text("Done. Found: red.").wait_for()
    assert page.get_by_role("alert").count() == 0
    page.get_by_label("Class names").fill("blue")
    page.get_by_text("have changed since").wait_for()
    page.get_by_label("Class names").press("Enter")
    page.get_by_text("Done. Found: blue.").wait_for()


@pytest.mark.parametrize("width", [390, 1200])
def test_targets_are_large_enough_and_a_phone_scrolls_to_the_result(visit, photos, width):
    page = visit(width=width)
    ask(page, photos / "squares.png", "red, blue")
    page.get_by_text("Done. Found: red; blue.").wait_for()
    page.wait_for_timeout(1000)
    status, masks = page.get_by_text("Done.").bounding_box(), page.locator("#masks").bounding_box()
    assert 0 <= status["y"] < masks["y"] < 450
    for target in page.locator("button, #step label, label:has(input[type=checkbox]), input[type=number]").all():
        if target.is_visible():
            assert target.bounding_box()["height"] >= 32, target.evaluate("e => e.outerHTML")


def test_a_phone_goes_to_the_error(visit, photos):
    page = visit(width=390)
    ask(page, photos / "squares.png", "red, red")
    alert = page.get_by_role("alert").filter(has_text="is given twice")
    alert.wait_for()
    page.wait_for_timeout(1000)
    assert 0 <= alert.bounding_box()["y"] < 800
    names = page.get_by_label("Class names").bounding_box()
    assert 0 < alert.bounding_box()["y"] - names["y"] < 150, "it stands below its field"


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
    from pnp_ovss.web.server import Offer, ServerConfig, served

    threads = threading.active_count()
    with served(lambda _: Segmenter(FakeVLM(), CONFIG), Offer(["blip-large-flickr"]), ServerConfig(port=0)) as address:
        import os

        folder = Path(os.environ["GRADIO_TEMP_DIR"])
        assert folder.is_dir()
        assert address.startswith("http://127.0.0.1:")
    assert not folder.exists()
    assert threading.active_count() <= threads + 3


def test_a_taken_port_is_an_error_in_words(address):
    from pnp_ovss.web.server import Offer, ServerConfig, served

    port = int(address.rstrip("/").rsplit(":", 1)[1])
    with (
        pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 cannot be used"),
        served(lambda _: None, Offer(["blip-large-flickr"]), ServerConfig(port=port)),
    ):
        pass
