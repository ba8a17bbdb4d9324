"""What a person does on the page, in the system's Chromium: `pytest -m e2e` with the extras web and e2e."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.web.chromium import MARKS, ask, legend

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
pytestmark = MARKS


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
