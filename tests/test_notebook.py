"""The notebook and the page for Python, run as they are printed."""

import json
import re
from pathlib import Path

import pytest

from pnp_ovss.vlms.checkpoints import loading

DOCS = Path(__file__).parents[1] / "docs"
WEIGHTS = Path(loading.__file__).parents[2] / "weights" / "pocket.safetensors"


@pytest.fixture
def run(monkeypatch, tmp_path):
    """run(name, cells): executed one after the other in an empty folder; a cell's last expression is shown."""
    pytest.importorskip("skimage")
    if not WEIGHTS.exists():
        pytest.skip("needs the built-in weights")
    monkeypatch.chdir(tmp_path)

    def run_cells(name, cells):
        names = {}
        for number, cell in enumerate(cells):
            exec(compile(cell, f"{name}[{number}]", "exec"), names)
        return names

    return run_cells


def test_notebook(run, capsys):
    cells = json.loads((DOCS / "notebook.ipynb").read_text("utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(sources) >= 6
    names = run("notebook", sources)
    assert "found: ['cat']" in capsys.readouterr().out
    assert names["again"].shares == names["result"].shares
    assert names["result"]._repr_html_().count("<tr>") == 4


def test_the_notebook_carries_no_output():
    cells = json.loads((DOCS / "notebook.ipynb").read_text("utf-8"))["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def test_page(run):
    text = (DOCS / "python.md").read_text("utf-8")
    names = run("python.md", re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    assert list(names["again"]) == ["cat"]
    assert 0 < names["stricter"].shares["cat"] < names["result"].shares["cat"]
