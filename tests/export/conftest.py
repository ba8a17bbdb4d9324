"""A run with every difficulty: other class lists, holes, nothing found, one name in two folders, 16 bit."""

from pathlib import Path

import numpy as np
import pytest

from pnp_ovss.export import Run, read_run
from tests.runs import holes, many, noise, write_run


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Three photos with five classes: cat, traffic light, absent, Katze & Co, dog."""
    results = {
        "p/a.jpg": (holes(), ["cat", "traffic light"]),
        "q/a.jpg": (np.zeros((5, 6), dtype=np.uint16), ["absent"]),
        "q/b.png": (noise(), ["Katze & Co", "Traffic light", "dog"]),
    }
    return write_run(tmp_path / "run", results)


@pytest.fixture
def run(run_dir: Path) -> Run:
    return read_run(run_dir)


@pytest.fixture
def wide_run(tmp_path: Path) -> Run:
    """With a photo of 300 classes: 305 in all."""
    results = {
        "p/a.jpg": (holes(), ["cat", "traffic light", "absent", "Katze & Co", "dog"]),
        "q/wide.tif": (many(), [f"thing {i}" for i in range(1, 301)]),
    }
    return read_run(write_run(tmp_path / "wide", results))
