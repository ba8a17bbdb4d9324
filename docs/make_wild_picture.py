"""Make docs/pictures/wild.png, the gallery of docs/wild.toml: python docs/make_wild_picture.py

Needs the extra demo, whose photographs it copies beside the list.
"""

import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

from PIL import Image

from pnp_ovss.cli.gallery import gallery
from pnp_ovss.cli.photos import skimage_folder

LIST = Path(__file__).parent / "wild.toml"
OUT = Path(__file__).parent / "pictures" / "wild.png"


def main() -> int:
    """Segment the listed photographs and keep the picture, in few colours; returns the gallery's exit code."""
    files = {entry["file"] for entry in tomllib.loads(LIST.read_text("utf-8"))["photo"]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in (LIST, *(skimage_folder() / file for file in files)):
            shutil.copy(file, folder)
        code = gallery(listed=folder / LIST.name, tile=320, out=folder / "out")
        if code == 0:
            Image.open(folder / "out" / "gallery.png").quantize(96).save(OUT, optimize=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
