"""Make docs/pictures/notebook.png: what a notebook shows of a result. Needs the extras demo and e2e, and Chromium."""

import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from pnp_ovss import Segmenter
from pnp_ovss.cli.photos import skimage_folder

OUT = Path(__file__).parent / "pictures" / "notebook.png"


def main() -> None:
    """Segment a photo of scikit-image and keep a picture of its card."""
    result = Segmenter.from_pretrained("pocket")(skimage_folder() / "chelsea.png", [("cat", "kitten"), "dog", "sofa"])
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 900, "height": 400})
        page.set_content(f"<body style='font:15px system-ui,sans-serif'>{result._repr_html_()}</body>")
        page.screenshot(path=OUT, full_page=True)
        browser.close()
    Image.open(OUT).quantize(256).save(OUT, optimize=True)


if __name__ == "__main__":
    main()
