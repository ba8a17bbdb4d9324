"""What the tests in the system's Chromium share: which one, their marks, the settings, how a page is asked."""

import shutil

import pytest

from pnp_ovss import SegmenterConfig

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MARKS = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore"),  # gradio's and its server's own deprecations
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
CONFIG = SegmenterConfig(layer=2, head=2, size_px=96, refine="pamr", drops=2)


def ask(page, photo, names):
    page.set_input_files("#photo input[type=file]", photo)
    page.locator("#photo img").wait_for()
    page.get_by_label("Class names").fill(names)
    page.get_by_role("button", name="Segment", exact=True).click()


def legend(page):
    return page.locator("#masks .legend-item").all_inner_texts()
