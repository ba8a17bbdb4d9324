"""Make docs/pictures/notebook.png, what a notebook shows of a result, and web.png, the page after segmenting a photo.

Run in an environment with the extras demo, web and e2e, and Chromium: python docs/make_browser_pictures.py
"""

import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from pnp_ovss import Segmenter
from pnp_ovss.cli.photos import DEMO, skimage_folder
from pnp_ovss.web.fields import Offer
from pnp_ovss.web.server import ServerConfig, served

PICTURES = Path(__file__).parent / "pictures"
PHOTO = "coffee.png"


def notebook(browser: Browser) -> None:
    """The card of a result."""
    result = Segmenter.from_pretrained("pocket")(skimage_folder() / "chelsea.png", [("cat", "kitten"), "dog", "sofa"])
    page = browser.new_page(viewport={"width": 900, "height": 400})
    page.set_content(f"<body style='font:15px system-ui,sans-serif'>{result._repr_html_()}</body>")
    keep(page, "notebook.png")


def web(browser: Browser) -> None:
    """The page, served, after segmenting the photo in it."""
    page = browser.new_page(viewport={"width": 1100, "height": 1000})
    page.set_default_timeout(240_000)
    with served(Segmenter.from_pretrained, Offer(["pocket"]), ServerConfig(port=0)) as address:
        page.goto(address)
        page.set_input_files("#photo input[type=file]", skimage_folder() / PHOTO)
        page.locator("#photo img").wait_for()
        page.get_by_label("Class names").fill(DEMO[PHOTO])
        page.get_by_role("button", name="Segment", exact=True).click()
        page.get_by_text("Done.").wait_for()
        page.wait_for_timeout(3000)
        keep(page, "web.png")


def keep(page: Page, name: str) -> None:
    """A picture of all that the page shows, in few colours."""
    page.screenshot(path=PICTURES / name, full_page=True)
    Image.open(PICTURES / name).quantize(256).save(PICTURES / name, optimize=True)


def main() -> None:
    """Make both."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        notebook(browser)
        web(browser)
        browser.close()


if __name__ == "__main__":
    main()
