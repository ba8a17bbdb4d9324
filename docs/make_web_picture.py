"""Make docs/pictures/web.png: the page in a browser after segmenting a photo of scikit-image.

Run in an environment with the extras demo, web and e2e: python docs/make_web_picture.py
"""

import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from pnp_ovss import Segmenter
from pnp_ovss.cli.photos import DEMO, skimage_folder
from pnp_ovss.web.page import Offer
from pnp_ovss.web.server import ServerConfig, served

PHOTO = "coffee.png"
OUT = Path(__file__).parent / "pictures" / "web.png"


def main() -> None:
    """Serve the page, segment the photo in it and keep a picture of the screen."""
    OUT.parent.mkdir(exist_ok=True)
    photo = skimage_folder() / PHOTO
    offer = Offer(["pocket"])
    with served(Segmenter.from_pretrained, offer, ServerConfig(port=0)) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 1000})
        page.set_default_timeout(240_000)
        page.goto(address)
        page.set_input_files("#photo input[type=file]", photo)
        page.locator("#photo img").wait_for()
        page.get_by_label("Class names").fill(DEMO[PHOTO])
        page.get_by_role("button", name="Segment", exact=True).click()
        page.get_by_text("Done.").wait_for()
        page.wait_for_timeout(3000)
        page.screenshot(path=OUT, full_page=True)
        browser.close()
    Image.open(OUT).quantize(256).save(OUT, optimize=True)


if __name__ == "__main__":
    main()
