"""One clear line for every kind of bad input, and odd input that works."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.scenes import two_squares


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
        (["-c", "red", "--policy", "file"], "needs the names that may win"),
        (["-c", "red", "--candidates", "none.json"], "cannot read none.json"),
        (["-c", "red", "--refine", "nope"], "nope"),
        (["-c", "red", "--precision", "float8"], "precision = 'float8'"),
        (["-c", "red", "--size", "100"], "multiple of 8"),
        (["-c", "red", "--size", "0"], "size_px = 0"),
        (["-c", "red", "--device", "tpu7"], "device"),
        (["-c", "red", "--device", "cuda"], "not available"),
        (["-c", "red", "--set", "drops"], "NAME=VALUE"),
        (["-c", "red", "--set", "nope=1"], "unknown setting 'nope'"),
        (["-c", "red", "--policy", "itm", "--set", "policy=all"], "policy is given twice"),
        (["-c", "red", "--set", "device=cpu"], "--set device=...: that is no setting"),
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


def test_any_setting_can_be_set_by_name(run, photo, tmp_path):
    more = ("--set", "policy=all", "--set", "size_px=64", "--set", "refine=none")
    assert run("segment", photo, "-c", "red, blue", *more, "--out", tmp_path / "o")[0] == 0
    config = json.loads((tmp_path / "o/scene.json").read_text())["config"]
    assert (config["policy"], config["size_px"], config["refine"]) == ("all", 64, "none")


def test_a_path_that_cannot_be_looked_at_is_one_line(run, tmp_path):
    code, _, err = run("segment", "x" * 400 + ".jpg", "-c", "red", "--out", tmp_path / "o")
    assert code == 2
    assert "Traceback" not in err
    assert "File name too long" in err


def test_a_name_that_is_no_text_is_segmented_and_shown(run, photo, tmp_path):
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    try:
        shutil.copy(photo, odd)
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    for more in ((), ("--json",)):
        code, out, _ = run("segment", odd, photo, "-c", "red", "--out", tmp_path / "o", *more)
        assert code == 0
        out.encode()  # text
        shown = json.loads(out.splitlines()[0])["image"] if more else out
        assert "caf\\xe9.png" in shown
    assert len(list((tmp_path / "o").glob("[!.]*"))) == 6
    saved = next(path for path in (tmp_path / "o").glob("*.json") if path.stem != "scene")
    assert json.loads(saved.read_text("utf-8"))["image"] == "caf\\xe9.png"


@pytest.mark.parametrize("names", ["猫, собака", "red 🐈, naïve", "x" * 300])
def test_any_script_and_long_names_work(run, photo, tmp_path, names):
    code, out, err = run("segment", photo, "-c", names, "--policy", "all", "--json", "--out", tmp_path / "o")
    assert code == 0, err
    assert [c["name"] for c in json.loads(out)["classes"]] == [n.strip() for n in names.split(",")]
