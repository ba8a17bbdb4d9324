"""`-` in place of a file, and how commands end when they are told to: in plain sentences."""

import io
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from pnp_ovss import Segmentation
from pnp_ovss.testing.fake_vlm import FAKE_PRESET
from tests.photos import image_file
from tests.scenes import two_squares


class Stream(io.TextIOWrapper):
    """A stream of a process: a pipe, or a terminal."""

    def __init__(self, data=b"", terminal=False):
        super().__init__(io.BytesIO(data), encoding="utf-8")
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.fixture
def pipe(monkeypatch):
    """pipe(bytes): what is on standard input; pipe(None): a terminal."""
    return lambda data: monkeypatch.setattr(sys, "stdin", Stream(data or b"", terminal=data is None))


def test_a_photo_in_one_png_out_and_all_else_on_standard_error(run, photo, tmp_path):
    command = [
        sys.executable,
        "-m",
        "pnp_ovss",
        "segment",
        "-",
        "-c",
        "red, green",
        "--out",
        "-",
        "--model",
        FAKE_PRESET,
    ]
    done = subprocess.run(command, input=image_file(two_squares(), "PNG"), capture_output=True)
    assert done.returncode == 0
    assert b"red" in done.stderr
    assert b"policy itm" in done.stderr
    assert run("segment", photo, "-c", "red, green", "--out", tmp_path / "o")[0] == 0
    assert done.stdout == (tmp_path / "o/scene.labels.png").read_bytes()


def test_the_overlay_in_a_pipe(run, photo, tmp_path, monkeypatch):
    assert run("segment", photo, "-c", "red, green", "--out", tmp_path / "o")[0] == 0
    monkeypatch.setattr(sys, "stdout", piped := Stream())
    assert run("segment", photo, "-c", "red, green", "--out", "-", "--picture", "overlay")[0] == 0
    assert piped.buffer.getvalue() == (tmp_path / "o/scene.overlay.png").read_bytes()


def test_names_from_standard_input(run, photo, pipe, tmp_path):
    pipe("\ufeffcrimson, red\r\n# none\r\ngreen\r\n".encode())
    code, out, _ = run("segment", photo, "--classes-file", "-", "--json", "--out", tmp_path / "o")
    assert code == 0
    assert [entry["name"] for entry in json.loads(out)["classes"]] == ["crimson", "green"]


def test_photos_from_standard_input_never_overwrite_each_other(run, pipe, tmp_path):
    for shade, stem in ((10, "stdin"), (200, "stdin-2"), (10, "stdin")):
        pipe(image_file(np.full((24, 32, 3), shade, np.uint8), "PNG"))
        code, out, _ = run("segment", "-", "-c", "red", "--out", tmp_path / "o", "--json")
        assert code == 0
        assert json.loads(out)["image"] == "stdin"
        assert json.loads(out)["files"]["labels"].endswith(f"/{stem}.labels.png")
    assert Segmentation.load(tmp_path / "o", "stdin-2").image_name == "stdin"
    assert run("export", tmp_path / "o", "--to", "coco", "--out", tmp_path / "c.json")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "given", "words"),
    [
        (["-"], b"", "standard input is empty: there is no photo"),
        (["-"], None, "standard input, which is a terminal: add < FILE"),
        (["-"], b"no photo", "is not an image in a format"),
        (["-", "--classes-file", "-"], b"red", "holds the photo or the class file, not both"),
        (["PHOTO", "--classes-file", "-"], None, "reads class names from standard input, which is a terminal"),
        (["PHOTO", "--classes-file", "-"], b"\xff\xfe\xff", "are not UTF-8 text"),
        (["PHOTO", "b.png", "--out", "-"], b"", "--out - writes one picture; 2 photos were given"),
        (["PHOTO", "--json", "--out", "-"], b"", "both write to standard output"),
        (["PHOTO", "--picture", "mask"], b"", "--picture mask: write labels or overlay"),
    ],
)
def test_what_a_pipe_cannot_carry_is_one_sentence(run, photo, pipe, tmp_path, monkeypatch, arguments, given, words):
    monkeypatch.chdir(tmp_path)
    pipe(given)
    names = [] if "--classes-file" in arguments else ["-c", "red"]
    code, out, err = run("segment", *[photo if word == "PHOTO" else word for word in arguments], *names)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
    assert out == ""


def test_no_png_on_a_terminal(run, photo, monkeypatch):
    monkeypatch.setattr(sys, "stdout", terminal := Stream(terminal=True))
    code, _, err = run("segment", photo, "-c", "red", "--out", "-")
    assert code == 2
    assert "which is a terminal: add > FILE.png" in err
    assert terminal.buffer.getvalue() == b""


def test_sigterm_is_a_sentence_and_leaves_what_was_finished(run, photo, tmp_path, monkeypatch):
    from pnp_ovss.cli import segment as command

    tell = command._tell_result

    def told(*arguments, **options):
        tell(*arguments, **options)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(command, "_tell_result", told)
    Image.fromarray(two_squares()).save(tmp_path / "second.png")
    before = signal.getsignal(signal.SIGTERM)
    code, _, err = run("segment", photo, tmp_path / "second.png", "-c", "red", "--out", tmp_path / "o")
    assert code == 143
    assert err.splitlines()[-1] == "pnp-ovss: stopped by a signal; what was finished is saved"
    assert (tmp_path / "o/scene.json").is_file()
    assert not (tmp_path / "o/second.json").exists()
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("format", "out", "words"),
    [
        ("coco", "there", "format coco is one .json file, and there names a folder: use there/export-coco.json"),
        ("cvat", "new", "format cvat is one .zip file, and new names a folder: use new/export-cvat.zip"),
        ("coco", "x.txt", "format coco is one .json file; x.txt has another ending: use x.json"),
        ("voc", "file", "format voc is a folder, and file is a file; choose another --out"),
    ],
)
def test_a_folder_for_a_file_and_a_file_for_a_folder(run, photo, tmp_path, monkeypatch, format, out, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    assert run("segment", photo, "-c", "red", "--out", "run")[0] == 0
    code, _, err = run("export", "run", "--to", format, "--out", out)
    assert (code, err.strip()) == (2, f"pnp-ovss: {words}")


def test_one_is_singular(run, photo, tmp_path):
    assert run("segment", photo, "-c", "red", "--out", tmp_path / "o")[0] == 0
    _, out, _ = run("export", tmp_path / "o", "--to", "coco", "--out", tmp_path / "c.json")
    assert out.strip().endswith(": 1 photo, 1 class, 1 mask")
