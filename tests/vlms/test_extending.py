"""The adapter of docs/extending.md is run as it stands there, through the contract and to a mask."""

import re
from pathlib import Path

import numpy as np

from pnp_ovss.testing.small_models import wordpiece_file
from pnp_ovss.vlms.encoders.wordpiece import WordPieceTokenizer

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


def _page(folder: Path) -> dict:
    """The names that the page's code defines."""
    names = {
        "tokenizer": WordPieceTokenizer.from_vocabulary(wordpiece_file(folder)),
        "photo": np.random.default_rng(0).integers(0, 255, (48, 60, 3), dtype=np.uint8),
        "__name__": "page",
    }
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    return names


def test_the_adapter_of_the_page_keeps_the_contract(tmp_path):
    case = _page(tmp_path)["TestMyVLM"]()
    tests = [name for name in dir(case) if name.startswith("test_") and name != "test_precisions_agree"]
    assert len(tests) >= 20
    for name in tests:
        getattr(case, name)()


def test_and_it_segments(tmp_path):
    result = _page(tmp_path)["result"]

    assert result.labels.shape == (48, 60)
    assert result.provenance.model == "mine"


def test_the_adapter_is_about_sixty_lines():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)
    adapter = next(block for block in blocks if "class MyVLM" in block)

    assert len(adapter.strip().splitlines()) <= 65
