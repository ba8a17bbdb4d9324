"""Labels of three photos against those of pydensecrf2, made by golden/make_golden.py and kept beside it."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pnp_ovss.refiners import get_refiner

pytest.importorskip("skimage", reason="needs scikit-image's photos: pip install '.[demo]'")

GOLDEN = Path(__file__).parent / "golden"
MAKE = runpy.run_path(str(GOLDEN / "make_golden.py"))


@pytest.mark.parametrize("refiner", ["densecrf", "densecrf-compiled"])
@pytest.mark.parametrize("name", sorted(MAKE["CASES"]))
def test_labels_are_those_of_pydensecrf(name, refiner):
    if refiner == "densecrf-compiled":
        pytest.importorskip("numba", reason="needs numba: pip install '.[fast]'")
    photo, scores = MAKE["photo"](name), MAKE["blob_scores"](name)
    golden = np.asarray(Image.open(GOLDEN / f"{name}.png"))
    labels = get_refiner(refiner).refine(photo, scores).argmax(0).numpy()
    assert labels.shape == golden.shape
    assert (labels == golden).mean() >= 0.999
    assert (scores.argmax(0).numpy() == golden).mean() < 0.98, "the CRF should have had something to do"
