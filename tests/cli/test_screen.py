"""What users wrote reaches the terminal as it is, whatever it holds and whatever the terminal can write."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import pnp_ovss.cli
from pnp_ovss.testing.fake_vlm import FAKE_PRESET
from tests.evaluation.conftest import write_rectangles
from tests.scenes import two_squares, write_different

HOSTILE = "[red] [bold] %s {} {0} :smile: two\nlines 猫 café \x1b[31m [/y]"
NAMES = ["[/x]", "[red]", "[bold]hidden", "%s", "{}", ":smile:", "猫"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder whose name is hostile text, on a wide screen."""
    monkeypatch.setenv("COLUMNS", "250")
    path = tmp_path / HOSTILE  # two folders, between them "[/y]"
    path.mkdir(parents=True)
    Image.fromarray(two_squares()).save(path / "a.png")
    return path


def on_screen(path):
    return str(path).replace("\n", "\\n").replace("\x1b", "\\x1b")


def test_paths_are_printed_as_they_are_by_every_command(run, folder, tmp_path):
    photo, names = folder / "a.png", ["-c", "red, blue"]
    root = write_rectangles(folder / "set")
    (folder / "tags.json").write_text(json.dumps({"a.png": ["red", "blue"]}))
    tune = ["--tags", folder / "tags.json", "--trials", 1, "--scorer-size", 96, "--no-blur"]
    small = ["--limit", 1, "--policy", "oracle"]
    for words, written in [
        (["segment", photo, *names, "--out", folder / "o"], folder / "o/a.labels.png"),
        (["explain", photo, *names, "--out", folder / "e"], folder / "e/a.01-red.stages.png"),
        (["gallery", photo, *names, "--out", folder / "g"], folder / "g/gallery.html"),
        (["export", folder / "o", "--to", "voc", "--out", folder / "v"], folder / "v"),
        (["evaluate", "folder", root, *small, "--out", folder / "r.json"], folder / "r.json"),
        (["ablate", "folder", root, *small, "--out", folder / "ab.json"], folder / "ab.json"),
        (["sensitivity", "folder", root, *small, "--out", folder / "s.json"], folder / "s.json"),
        (["tune", photo, *tune, "--out", folder / "t.toml"], folder / "t.toml"),
        (
            ["calibrate", write_different(folder / "bank", 8), "--photos", 8, "--out", folder / "b.safetensors"],
            folder / "b.safetensors",
        ),
        (["datasets", "check", "folder", root, "--sheet", folder / "sheet.png"], folder / "sheet.png"),
    ]:
        code, out, err = run(*words)
        assert code == 0, (words, err)
        assert on_screen(written) in out, words
    for words in (
        ["compare", folder / "none.json", folder / "r.json"],
        ["segment", folder / "none.png", *names, "--out", folder / "o"],
        ["segment", photo, "--classes-file", folder / "none.txt", "--out", folder / "o"],
        ["segment", photo, *names, "--model", folder / "none.toml", "--out", folder / "o"],
        ["explain", folder / "none.png", *names, "--out", folder / "e"],
        ["gallery", folder / "none.png", *names, "--out", folder / "g"],
        ["export", folder / "none", "--to", "voc", "--out", folder / "w"],
        ["evaluate", "folder", folder / "none", "--out", folder / "x.json"],
        ["batch", folder / "none", *names, "--out", folder / "b", "--model", FAKE_PRESET],
        ["batch-report", folder / "none"],
        ["models", "check", folder / "none.toml"],
        ["models", "fetch", folder / "none.toml"],
        ["models", "convert", folder / "none.pth", "--as", "albef", "--out", folder / "c"],
    ):
        code, out, err = run(*words)
        assert code == 2, words
        assert on_screen(folder / "none") in err, words
        assert err.strip().count("\n") == 0, err


@pytest.mark.parametrize("name", NAMES)
def test_class_names_are_printed_as_they_are(run, tmp_path, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "250")
    Image.fromarray(two_squares()).save(tmp_path / "a.png")
    code, out, err = run("segment", tmp_path / "a.png", "-c", f"red, {name} x", "--out", tmp_path / "o")
    assert code == 0, err
    assert f" {name} x " in out
    root = write_rectangles(tmp_path / "set")
    text = (root / "dataset.toml").read_text()
    (root / "dataset.toml").write_text(text.replace("'green'", json.dumps(f"{name} x", ensure_ascii=False)), "utf-8")
    code, out, _ = run("datasets", "check", "folder", root)
    assert code == 0
    assert f" {name} x " in out
    code, _, err = run("segment", tmp_path / "a.png", "-c", f"{name}, {name}", "--out", tmp_path / "o")
    assert code == 2
    assert f"'{name}' is given twice" in err


@pytest.mark.parametrize("words", [["x[/x]"], ["segment", "--[/x]"], ["export", "--to", "[/x]", "."]])
def test_usage_errors_quote_what_was_written(run, words):
    code, _, err = run(*words)
    assert code == 2
    assert "[/x]" in err


def test_one_file_alone_prints():
    folder = Path(pnp_ovss.cli.__file__).parent
    others = [path for path in sorted(folder.glob("*.py")) if path.name != "screen.py"]
    assert len(others) > 10
    found = [
        path.name for path in others if re.search(r"(?<![\w.])(print|Console)\(|typer\.echo", path.read_text("utf-8"))
    ]
    assert not found


def command(*words, stdout=subprocess.PIPE, **environment):
    """The module in a process of its own: (exit code, standard output's bytes, standard error's text)."""
    given = {**os.environ, "COLUMNS": "200", **environment}
    done = subprocess.run(
        [sys.executable, "-m", "pnp_ovss", *map(str, words)], stdout=stdout, stderr=subprocess.PIPE, env=given
    )
    return done.returncode, done.stdout, done.stderr.decode("utf-8", "replace")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_a_stream_of_any_encoding_gets_tables_and_json(tmp_path, encoding):
    photo = tmp_path / "猫.png"
    Image.fromarray(two_squares()).save(photo)
    request = ["segment", photo, "-c", "red, 猫, Bär", "--model", FAKE_PRESET, "--out", tmp_path / "o"]
    code, out, err = command(*request, PYTHONIOENCODING=encoding)
    assert code == 0, err
    text = out.decode(encoding)
    assert "red" in text
    assert ("猫" if encoding == "utf-8" else "?") in text
    assert ("Bär" in text) == (encoding != "ascii")
    code, out, err = command(*request, "--json", PYTHONIOENCODING=encoding)
    assert code == 0, err
    assert json.loads(out.decode("ascii"))["image"] == "猫.png"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("words", [["models"], ["models", "--json"], ["--version"], ["--help"]])
def test_a_full_output_is_one_line(words):
    with Path("/dev/full").open("w") as full:
        code, _, err = command(*words, stdout=full)
    assert code == 2
    assert err == "pnp-ovss: cannot write the output: No space left on device\n"


def test_a_reader_that_has_read_enough_is_no_error():
    read, write = os.pipe()
    os.close(read)
    try:
        code, _, err = command("models", stdout=write)
    finally:
        os.close(write)
    assert code == 1  # what typer makes of a closed pipe
    assert err == ""


def test_the_version_and_the_module():
    from importlib.metadata import version

    assert command("--version")[:2] == (0, f"pnp-ovss {version('pnp-ovss')}\n".encode())


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_shell_is_told_the_commands():
    words = {"_PNP_OVSS_COMPLETE": "complete_bash", "COMP_WORDS": "pnp-ovss seg", "COMP_CWORD": "1"}
    code, out, err = command(**words)
    assert code == 0, err
    assert out.decode().split() == ["segment"]
