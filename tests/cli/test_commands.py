"""The command line through its entry point: results, files and exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pnp_ovss.cli.photos import DEMO
from pnp_ovss.cli.segment import MAX_ABSENT
from tests.scenes import two_squares


def test_segment_writes_three_files_and_a_table(run, photo, tmp_path):
    code, out, _ = run("segment", photo, "-c", "red, green", "--out", tmp_path / "o")
    assert code == 0
    assert "red" in out
    assert "policy itm" in out
    data = json.loads((tmp_path / "o/scene.json").read_text())
    assert data["classes"][0]["share"] > 0.05
    assert data["classes"][1] == {
        "id": 2,
        "name": "green",
        "share": 0.0,
        "match_score": pytest.approx(0.0003, abs=1e-4),
        "verdict": "0.00 < 0.5",
    }
    with Image.open(tmp_path / "o/scene.labels.png") as labels:
        assert set(np.unique(np.asarray(labels))) == {0, 1}
    assert (tmp_path / "o/scene.overlay.png").is_file()


def test_json_lines_and_nothing_else(run, photo, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8 no photo")
    code, out, _ = run("segment", photo, bad, "-c", "red", "--json", "--out", tmp_path / "o")
    assert code == 1
    good, failed = map(json.loads, out.splitlines())
    assert Path(good["files"]["labels"]).is_file()
    assert set(failed) == {"image", "error"}


def test_photos_of_one_name_do_not_overwrite_each_other(run, photo, tmp_path):
    (tmp_path / "b").mkdir()
    other = tmp_path / "b" / "scene.png"
    Image.fromarray(two_squares()[::-1].copy()).save(other)
    code, _, _ = run("segment", photo, other, "-c", "red", "--out", tmp_path / "o")
    assert code == 0
    names = sorted(p.name for p in (tmp_path / "o").glob("*.labels.png"))
    assert names == ["scene-2.labels.png", "scene.labels.png"]


def test_class_file_candidates_method_and_set(run, photo, tmp_path):
    (tmp_path / "c.txt").write_text("crimson, red\ngreen\n# none\n")
    (tmp_path / "k.json").write_text('{"scene.png": ["red"]}')
    code, out, _ = run(
        "segment", photo, "--classes-file", tmp_path / "c.txt", "--candidates", tmp_path / "k.json",
        "--method", "authors-cvpr", "--policy", "file", "--set", "drops=1", "--set", "refine_options={}",
        "--json", "--out", tmp_path / "o",
    )  # fmt: skip
    assert code == 0
    data = json.loads(out)
    assert [c["name"] for c in data["classes"]] == ["crimson", "green"]
    assert (data["method"], data["policy"]) == ("authors-cvpr", "file")
    assert (data["config"]["drops"], data["config"]["resize"]) == (1, "bicubic")
    assert data["classes"][0]["share"] > 0.05


def test_unwritable_output(run, photo, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = run("segment", photo, "-c", "red", "--out", tmp_path / "file" / "x")
    assert code == 2
    assert "choose another --out" in err


def test_debug_shows_the_trace(run, photo, tmp_path):
    with pytest.raises(Exception, match="no class names"):
        run("--debug", "segment", photo, "-c", "", "--out", tmp_path / "o")


def test_usage_errors_end_with_2(run):
    assert run("segment")[0] == 2
    assert run("nonsense")[0] == 2
    assert run("--help")[0] == 0


def test_a_table_of_many_names_lists_the_found_and_the_likeliest(run, photo, tmp_path):
    names = ["red", *(f"thing {i}" for i in range(200))]
    code, out, _ = run("segment", photo, "-c", ", ".join(names), "--set", "match_threshold=0.99", "--out", tmp_path)
    assert code == 0
    assert out.count("thing") == MAX_ABSENT
    assert f"{200 - MAX_ABSENT} more, see the JSON" in out


def test_explain(run, photo, tmp_path):
    code, out, _ = run("explain", photo, "-c", "red, blue", "--out", tmp_path / "e")
    assert code == 0
    assert len(out.split()) == len(list((tmp_path / "e").glob("*.png"))) == 4


def test_demo_names_what_it_wrote(run, tmp_path):
    pytest.importorskip("skimage", reason="needs scikit-image's photographs")
    code, out, _ = run("demo", "--out", tmp_path / "d")
    assert code == 0
    written = sorted(p.name for p in (tmp_path / "d").glob("*.overlay.png"))
    assert written == sorted(f"{Path(name).stem}.overlay.png" for name in DEMO)
    assert all(name in out for name in written)


def test_the_installed_command():
    done = subprocess.run([Path(sys.executable).parent / "pnp-ovss", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "segment" in done.stdout
