"""The benchmark of a card runs anywhere with small models, so that it works where there is a card."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers")
pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is counted on Linux")
SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


def run(*arguments):
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_every_row_is_measured_or_said_to_be_not_run(tmp_path):
    out = tmp_path / "rows.json"
    done = run("--device", "cpu", "--tiny", "--runs", "1", "--minutes", "5", "--json", str(out))
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())["rows"]
    assert {(row["system"], row["precision"]) for row in rows} == {
        ("BLIP-large", "float32"), ("BLIP-large", "bfloat16"), ("as published", "float32"),
    }  # fmt: skip
    assert {row["names"] for row in rows} == {20, 171}
    assert {
        (row["precision"], row["at_once"]) for row in rows if row["names"] == 20 and row["system"] == "BLIP-large"
    } == {(precision, count) for precision in ("float32", "bfloat16") for count in (1, 4, 16)}
    for row in rows:
        assert len(row["seconds"]) == 1
        assert row["seconds"][0] > row["refine_s"] > 0
        assert row["peak_mib"] > 1
        assert (row["limit_share"] is not None) == (row["system"] == "BLIP-large")

    none = run("--device", "cpu", "--tiny", "--minutes", "0")
    assert none.stdout.count("not run") == len(rows)


def test_without_a_card_it_says_so():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a card")
    done = run()
    assert done.returncode == 2
    assert "torch sees no card" in done.stderr
