"""Label maps of pydensecrf2 on three photos of scikit-image, kept beside this file: make them with

    make crf-oracle && .venv/bin/python tests/refiners/golden/make_golden.py

Each case is a photo and hand-placed blobs (class, centre y and x as shares of the photo, radius as a share), the shape
that class maps have before they are refined. `tests/refiners/test_golden.py` reads the cases from here.
"""

from pathlib import Path

import numpy as np
import torch
from skimage import data

CASES = {
    "astronaut": [(1, 0.22, 0.44, 0.16), (2, 0.75, 0.45, 0.30), (3, 0.30, 0.85, 0.18), (4, 0.45, 0.12, 0.15)],
    "coffee": [(1, 0.48, 0.48, 0.27), (2, 0.42, 0.47, 0.14), (3, 0.75, 0.80, 0.16)],
    "chelsea": [(1, 0.45, 0.55, 0.40), (2, 0.38, 0.35, 0.06), (2, 0.38, 0.62, 0.06)],
}


def photo(name: str) -> np.ndarray:
    """The photo (H, W, 3) uint8 RGB."""
    return getattr(data, name)()


def blob_scores(name: str) -> torch.Tensor:
    """Scores (C, H, W) float32 in [0, 1]: the background's complement first, then the classes' blobs."""
    height, width = photo(name).shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float64)
    blobs = CASES[name]
    scores = np.zeros((1 + max(blob[0] for blob in blobs), height, width))
    for channel, centre_y, centre_x, radius in blobs:
        distance = np.hypot(y - centre_y * height, x - centre_x * width) / (radius * max(height, width))
        scores[channel] = np.maximum(scores[channel], np.exp(-(distance**2)))
    scores[0] = np.clip(1 - scores[1:].sum(0), 0, 1)
    return torch.tensor(scores, dtype=torch.float32)


def main() -> None:
    """Write one greyscale PNG of labels a case."""
    from PIL import Image

    from pnp_ovss.refiners import get_refiner

    for name in CASES:
        q = get_refiner("densecrf-reference").refine(photo(name), blob_scores(name))
        labels = Image.fromarray(q.argmax(0).to(torch.uint8).numpy())
        labels.save(Path(__file__).parent / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
