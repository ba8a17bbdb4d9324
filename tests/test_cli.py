"""The command line through its entry point: results, exit codes, and one clear line for every kind of bad input."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pnp_ovss import Segmenter
from pnp_ovss.cli import main as cli
from pnp_ovss.cli import options
from pnp_ovss.cli.segment import DEMO, MAX_ABSENT
from pnp_ovss.testing.fake_vlm import FakeVLM
from tests.scenes import two_squares


@pytest.fixture
def run(monkeypatch, capsys):
    """run(*arguments) -> (exit code, standard output, standard error), the model replaced by the fake one."""

    def fake(model, *, method=None, device="auto", seed=0, settings=None, **explicit):
        from pnp_ovss.config import resolve_config
        from pnp_ovss.vlms.loading import find_preset, pick_device

        if model != "pocket":
            find_preset(model)
        pick_device(device)
        given = {k: v for k, v in explicit.items() if v is not None} | options.parse_settings(settings)
        base = {"layer": 2, "head": 2, "size_px": 96, "refine": "none"}
        return Segmenter(FakeVLM(), resolve_config(None, method, **(base | given)), method=method or "preset")

    def call(*arguments):
        monkeypatch.setattr(options, "make_segmenter", fake)
        monkeypatch.setattr(sys, "argv", ["pnp-ovss", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output = capsys.readouterr()
        return ended.value.code, output.out, output.err

    return call


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "scene.png"
    Image.fromarray(two_squares()).save(path)
    return path


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


def photo_file(folder, name, kind):
    """One bad or odd picture file."""
    path = folder / name
    scene = Image.fromarray(two_squares())
    if kind == "missing":
        return path
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("this is no photo")
    elif kind == "truncated":
        scene.save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "bomb":
        Image.new("1", (30000, 30000)).save(path)
    return path


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("missing", "a.jpg", "does not exist"),
        ("folder", "a.jpg", "is a folder"),
        ("empty", "a.jpg", "is empty"),
        ("text", "a.jpg", "is not an image"),
        ("truncated", "a.jpg", "damaged or incomplete"),
        ("truncated", "a.png", "damaged or incomplete"),
        ("bomb", "a.png", "more than 100 megapixels"),
    ],
)
def test_bad_photos_alone_end_with_2_and_one_line(run, tmp_path, kind, name, words):
    path = photo_file(tmp_path, name, kind)
    code, out, err = run("segment", path, "-c", "red", "--out", tmp_path / "o")
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
    assert "Traceback" not in out + err


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "truncated"])
def test_bad_photos_among_good_ones_end_with_1(run, photo, tmp_path, kind):
    bad = photo_file(tmp_path, "bad.jpg", kind)
    code, _, err = run("segment", bad, photo, "-c", "red", "--out", tmp_path / "o")
    assert code == 1
    assert "bad.jpg" in err
    assert (tmp_path / "o/scene.json").is_file()


def odd_picture(kind):
    scene = Image.fromarray(two_squares())
    grey = np.asarray(scene.convert("L"))
    return {
        "16-bit": lambda: Image.fromarray(grey.astype(np.uint16) * 257),
        "cmyk": lambda: scene.convert("CMYK"),
        "alpha": lambda: scene.convert("RGBA"),
        "palette": lambda: scene.convert("P"),
        "1-pixel": lambda: Image.new("RGB", (1, 1), "red"),
        "30000-pixel": lambda: Image.new("RGB", (30000, 3), "red"),
    }[kind]()


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        ("16-bit", "png"),
        ("cmyk", "jpg"),
        ("alpha", "png"),
        ("palette", "gif"),
        ("1-pixel", "png"),
        ("30000-pixel", "png"),
    ],
)
def test_odd_photos_work(run, tmp_path, kind, suffix):
    path = tmp_path / f"odd.{suffix}"
    odd_picture(kind).save(path)
    code, out, err = run("segment", path, "-c", "red, grey", "--json", "--out", tmp_path / "o")
    assert code == 0, err
    with Image.open(path) as picture, Image.open(tmp_path / "o/odd.labels.png") as labels:
        assert labels.size == picture.size
        assert json.loads(out)["size"] == [picture.height, picture.width]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-c", ""], "no class names"),
        (["-c", "red,,blue"], "is empty"),
        (["-c", "red, Red"], "given twice"),
        (["-c", "x" * 301], "301 characters"),
        ([], "no classes were given"),
        (["-c", "red", "--classes-file", "f"], "not both"),
        (["--classes-file", "no-such-file"], "cannot read the class file"),
        (["-c", "red", "--model", "nope"], "unknown model 'nope'"),
        (["-c", "red", "--model", "nope.toml"], "cannot read nope.toml"),
        (["-c", "red", "--method", "nope"], "unknown method 'nope'"),
        (["-c", "red", "--policy", "nope"], "policy = 'nope'"),
        (["-c", "red", "--policy", "file"], "needs --candidates"),
        (["-c", "red", "--candidates", "none.json"], "cannot read none.json"),
        (["-c", "red", "--refine", "nope"], "nope"),
        (["-c", "red", "--precision", "float8"], "precision = 'float8'"),
        (["-c", "red", "--size", "100"], "multiple of 8"),
        (["-c", "red", "--size", "0"], "size_px = 0"),
        (["-c", "red", "--device", "tpu7"], "device"),
        (["-c", "red", "--device", "cuda"], "not available"),
        (["-c", "red", "--set", "drops"], "NAME=VALUE"),
        (["-c", "red", "--set", "nope=1"], "unknown setting 'nope'"),
    ],
)
def test_bad_options_are_one_line_and_2(run, photo, tmp_path, arguments, words):
    if "cuda" in arguments:
        import torch

        if torch.cuda.is_available():
            pytest.skip("this machine has a CUDA device")
    code, out, err = run("segment", photo, *arguments, "--out", tmp_path / "o")
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
    assert "Traceback" not in out + err


@pytest.mark.parametrize("names", ["猫, собака", "red 🐈, naïve", "x" * 300])
def test_any_script_and_long_names_work(run, photo, tmp_path, names):
    code, out, err = run("segment", photo, "-c", names, "--policy", "all", "--json", "--out", tmp_path / "o")
    assert code == 0, err
    assert [c["name"] for c in json.loads(out)["classes"]] == [n.strip() for n in names.split(",")]


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
