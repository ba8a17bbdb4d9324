"""Lets the tests and their workers, which are other processes, import `poison` by name."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="batch needs pyarrow: pip install '.[batch]'")
sys.path.append(str(Path(__file__).parent))
