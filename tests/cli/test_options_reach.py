"""Every option of every command that segments reaches the segmentation."""

import json

import pytest
import typer
from PIL import Image

from pnp_ovss import Segmenter
from pnp_ovss.cli.main import app
from tests.commands import MODEL_COMMANDS
from tests.evaluation.conftest import write_rectangles
from tests.scenes import two_squares, write_different

SETTINGS = {
    "--policy": ("all", "policy", "all"),
    "--size": (48, "size_px", 48),
    "--refine": ("pamr", "refine", "pamr"),
    "--precision": ("bfloat16", "precision", "bfloat16"),
    "--method": ("METHOD.toml", "drop_share", 0.25),
    "--set": ("drops=1", "drops", 1),
}
"""Option -> (what is given, the setting, its value)."""


def options_of(command):
    found = typer.main.get_command(app).commands[command].params
    return {name for parameter in found for name in parameter.opts} & set(SETTINGS)


SEGMENTING = [command for command in MODEL_COMMANDS if command not in ("calibrate", "serve")]
"""Not what matches names alone, nor what waits for requests."""
CASES = [(command, option) for command in SEGMENTING for option in sorted(options_of(command))]


@pytest.fixture
def asked(monkeypatch):
    """The segmenters that were asked to prepare a photo, and the classes of each."""
    seen, original = [], Segmenter.prepare

    def prepare(self, image, class_names, **options):
        seen.append((self, class_names))
        return original(self, image, class_names, **options)

    monkeypatch.setattr(Segmenter, "prepare", prepare)
    return seen


@pytest.fixture
def request_of(tmp_path):
    """request_of(command): arguments with which it segments something."""
    Image.fromarray(two_squares()).save(tmp_path / "scene.png")
    (tmp_path / "METHOD.toml").write_text("drop_share = 0.25\n")

    def make(command):
        if command in ("evaluate", "ablate", "sensitivity"):
            (tmp_path / "data").mkdir()
            root = write_rectangles(tmp_path / "data/set")
            return ["folder", root, "--limit", 1, "--out", tmp_path / "r.json"]
        if command == "calibrate":
            return [write_different(tmp_path / "bank", 8), "--photos", 8, "--out", tmp_path / "bank.safetensors"]
        if command == "tune":
            (tmp_path / "tags.json").write_text(json.dumps({"scene.png": ["red", "blue"]}))
            tags = ["--tags", tmp_path / "tags.json", "--scorer-size", 96]
            return [tmp_path, *tags, "--trials", 2, "--no-blur", "--out", tmp_path / "t.toml"]
        photo = [] if command == "demo" else [tmp_path / "scene.png", "-c", "red, green"]
        return [*photo, "--out", tmp_path / "out"]

    return make


@pytest.mark.parametrize(("command", "option"), CASES)
def test_an_option_reaches_the_segmentation(run, asked, request_of, tmp_path, monkeypatch, command, option):
    monkeypatch.chdir(tmp_path)
    if command == "demo":
        pytest.importorskip("skimage", reason="needs scikit-image's photographs")
    given, setting, value = SETTINGS[option]
    code, _, errors = run(command, *request_of(command), option, given)
    assert code == 0, errors
    assert asked
    assert all(getattr(segmenter.config, setting) == value for segmenter, _ in asked)


def test_the_precision_is_the_models_too(run, asked, request_of):
    for precision, dtype in (("float32", "torch.float32"), ("bfloat16", "torch.bfloat16")):
        assert run("segment", *request_of("segment"), "--precision", precision)[0] == 0
        assert str(asked[-1][0].vlm.model.weight.dtype) == dtype


def test_evaluate_prompts_all_names_of_a_class_with_synonyms(run, asked, tmp_path):
    root = write_rectangles(tmp_path / "set")
    text = (root / "dataset.toml").read_text()
    (root / "dataset.toml").write_text(text.replace("'red'", "'red, scarlet'"))
    for more, first in (((), ("red",)), (("--synonyms",), ("red", "scarlet"))):
        out = tmp_path / f"r{len(more)}.json"
        assert run("evaluate", "folder", root, "--limit", 1, "--out", out, "--examples", 0, *more)[0] == 0
        assert tuple(asked[-1][1][0]) == first


@pytest.mark.parametrize("command", ["segment", "evaluate"])
def test_candidates_reach_the_segmentation(run, request_of, tmp_path, command):
    """The names of the list may win, whatever the model finds."""
    names = {"scene.png": ["green"], **{f"{i:02}": ["green"] for i in range(12)}}
    (tmp_path / "list.json").write_text(json.dumps(names))
    assert run(command, *request_of(command), "--candidates", tmp_path / "list.json")[0] == 0
    if command == "segment":
        found = json.loads((tmp_path / "out/scene.json").read_text())
        assert found["policy"] == "file"
        assert not any(entry["share"] for entry in found["classes"])
    else:
        lines = (tmp_path / "r.images.jsonl").read_text().splitlines()
        assert json.loads(lines[1])["variants"][""]["kept"] == [2]
