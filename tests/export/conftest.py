"""A run with every difficulty: other class lists, holes, nothing found, one name twice, 16 bit."""

from pathlib import Path

import numpy as np
import pytest

from pnp_ovss.export import Run, read_run
from tests.runs import holes, many, noise, write_result


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Three photos with five classes: cat, traffic light, absent, Katze & Co, dog."""
    folder = tmp_path / "run"
    folder.mkdir()
    write_result(folder, "a", "a.jpg", holes(), ["cat", "traffic light"])
    write_result(folder, "a-2", "a.jpg", np.zeros((5, 6), dtype=np.uint16), ["absent"])
    write_result(folder, "b", "b.png", noise(), ["Katze & Co", "Traffic light", "dog"])
    return folder


@pytest.fixture
def run(run_dir: Path) -> Run:
    return read_run(run_dir)


@pytest.fixture
def wide_run(run_dir: Path) -> Run:
    """With a fourth photo of 300 classes: 305 in all."""
    write_result(run_dir, "wide", "wide.tif", many(), [f"thing {i}" for i in range(1, 301)])
    return read_run(run_dir)
