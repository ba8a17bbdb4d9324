"""What all tests share."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

_PROJECT = Path(__file__).parents[1]

# A change's tests see the examples that the last one saw; `make slow` searches for new ones. How long an example takes
# says how busy the machine is, and nothing else.
PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("same", derandomize=True, **PATIENT)
settings.register_profile("search", print_blob=True, **PATIENT)
settings.load_profile(os.environ.get("PNP_OVSS_PROPERTIES", "same"))


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Small tensors gain nothing from threads, and parallel tests lose; `make kernels` asks for two."""
    import torch

    torch.set_num_threads(int(os.environ.get("PNP_OVSS_TEST_THREADS", "1")))


@pytest.fixture
def without_heif(monkeypatch):
    """As on a machine without pillow-heif: HEIC photos are left out."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with real data: `$PNP_OVSS_DATA` or ../shared/data from the project; skips where there is none."""
    root = Path(os.environ.get("PNP_OVSS_DATA") or _PROJECT.parent / "shared" / "data")
    if not root.is_dir():
        pytest.skip(f"needs real data at {root}, or the folder that $PNP_OVSS_DATA names")
    return root
