"""Lets workers, which are other processes, import the factories of `poison`."""

from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="batch needs pyarrow: pip install 'pnp-ovss[batch]'")


@pytest.fixture(autouse=True)
def _factories(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
