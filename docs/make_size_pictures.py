"""Make docs/pictures/big-photos.png and film.png: `python docs/make_size_pictures.py`. Needs the extras demo and video.

A large photo is laid together, and a film is panned over two photos with a cut between them, from scikit-image's photographs.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pnp_ovss import Segmenter
from pnp_ovss.classes import parse_classes
from pnp_ovss.cli.photos import skimage_folder
from pnp_ovss.pictures.sheet import beside, stacked
from pnp_ovss.tiles import segment_any
from pnp_ovss.video.film import FilmConfig, segment_film

PICTURES = Path(__file__).parent / "pictures"
SHEET = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "hubble_deep_field.jpg")
SHEET_NAMES = "person, cat, cup, rocket, motorcycle, dog"
FILM_NAMES = "person, cat, flag"
PANNED = ("astronaut.png", "chelsea.png")
SIDE, STEPS, EVERY = 288, 12, 3


def photo(name: str, size: tuple[int, int]) -> Image.Image:
    """A photograph of scikit-image cut to a (width, height)."""
    return ImageOps.fit(Image.open(skimage_folder() / name).convert("RGB"), size)


def sheet() -> Image.Image:
    """Six photographs of 448 x 448 px in two rows."""
    photos = [photo(name, (448, 448)) for name in SHEET]
    return stacked([beside(photos[:3]), beside(photos[3:])])


def frames() -> Iterator[NDArray[np.uint8]]:
    """A pan over each photograph, one after the other."""
    for name in PANNED:
        wide = np.asarray(photo(name, (SIDE + 5 * STEPS, SIDE)))
        yield from (wide[:, 5 * step : 5 * step + SIDE] for step in range(STEPS))


def write_film(path: Path) -> None:
    """The frames as an H.264 film of 10 frames a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        for frame in frames():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())


def big_photo(segmenter: Segmenter) -> Image.Image:
    """The sheet as a whole (left) and in windows."""
    photos = [segment_any(segmenter, np.asarray(sheet()), SHEET_NAMES, tiles).overlay() for tiles in (False, True)]
    return beside([ImageOps.contain(shown, (480, 480)) for shown in photos], gap_px=4)


def film(segmenter: Segmenter) -> Image.Image:
    """Every third frame of the overlay film."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_film(folder / "film.mp4")
        print(segment_film(segmenter, folder / "film.mp4", parse_classes(FILM_NAMES), folder, FilmConfig(every=EVERY)))
        with av.open(str(folder / "overlay.mp4")) as container:
            kept = [frame.to_image() for frame in list(container.decode(video=0))[::EVERY]]
    return beside([shown.resize((120, 120)) for shown in kept], gap_px=4)


def main() -> None:
    """Make both, in few colours."""
    segmenter = Segmenter.from_pretrained("pocket")
    for name, picture in (("big-photos", big_photo(segmenter)), ("film", film(segmenter))):
        picture.quantize(128).save(PICTURES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
