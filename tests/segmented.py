"""The fake model's answer to the scene of two squares."""

from pnp_ovss import Segmenter, SegmenterConfig
from pnp_ovss.testing.fake_vlm import FakeVLM
from tests.scenes import two_squares

CONFIG = SegmenterConfig(layer=2, head=2, size_px=96, refine="none")
NAMES = ["red", "blue", "green"]


def segment(image=None, names=NAMES, vlm=None, **settings):
    segmenter = Segmenter(vlm or FakeVLM(), CONFIG.replace(**settings))
    return segmenter(two_squares() if image is None else image, names)


def interior(image, colour):
    """The pixels of a colour, a border of 10 px left out."""
    from scipy.ndimage import binary_erosion

    return binary_erosion((image == colour).all(axis=2), iterations=10)
