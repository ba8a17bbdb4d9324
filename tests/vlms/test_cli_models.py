"""`pnp-ovss models` and what stands below it."""

import json
import os
import shutil

import pytest
import torch
from PIL import Image

from pnp_ovss.cli.main import main
from pnp_ovss.presets import list_presets
from pnp_ovss.testing.small_models import small_blip
from tests.vlms import originals


def run(monkeypatch, capsys, *arguments):
    """Exit code, standard output and error of a command."""
    monkeypatch.setattr("sys.argv", ["pnp-ovss", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code, *capsys.readouterr()


def test_the_bare_call_lists_every_preset(monkeypatch, capsys):
    code, out, _ = run(monkeypatch, capsys, "models", "--json")

    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert list(rows) == list_presets()
    assert (rows["blip-large-flickr"]["layers"], rows["blip-large-flickr"]["heads"]) == ("1-12", 12)
    assert rows["albef"]["cached"] == "convert"
    assert rows["bridgetower-large-itm-mlm-itc"]["licence"] == "MIT"


def test_the_table_names_them_all(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = run(monkeypatch, capsys, "models")

    assert code == 0
    assert all(name in out for name in list_presets())


def test_a_narrow_window_leaves_whole_columns_out_and_says_which(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run(monkeypatch, capsys, "models")

    assert code == 0
    assert all(name in out for name in list_presets())
    assert "…" not in out
    assert "left out here: layer/head, of, match ≥, licence" in " ".join(out.split())


def test_fetch_what_cannot_be_fetched(monkeypatch, capsys):
    code, out, _ = run(monkeypatch, capsys, "models", "fetch", "pocket")
    assert (code, "built in" in out) == (0, True)
    code, _, err = run(monkeypatch, capsys, "models", "fetch", "mplug-large")
    assert code == 2
    assert err.count("\n") == 1
    assert "models convert FILE.pth --as mplug" in err


def test_convert_then_check(monkeypatch, capsys, tmp_path, vocabulary):
    sizes = originals.Sizes(text_depth=9, text_only=6, text_width=64)
    torch.save({"model": originals.random_state(originals.albef_shapes(sizes))}, tmp_path / "ALBEF.pth")
    out = tmp_path / "albef"

    code, text, _ = run(
        monkeypatch, capsys, "models", "convert", tmp_path / "ALBEF.pth", "--as", "albef", "--out", out,
        "--tokenizer", vocabulary,
    )  # fmt: skip
    assert code == 0
    assert "models check" in text
    preset = (out / "preset.toml").read_text()
    code, _, err = run(monkeypatch, capsys, "models", "check", out, "--size", "32", "--device", "cpu")
    assert (code, "the preset says 12" in err) == (2, True)  # one head of 64 in this small model
    small = preset.replace("heads = 12", "heads = 1").replace('"7-12"', '"7-9"').replace("parameters_m = 210", "")
    (out / "preset.toml").write_text(small.replace("layer = 9", "layer = 7"))
    code, _, err = run(monkeypatch, capsys, "models", "check", out, "--size", "32", "--device", "cpu")
    assert (code, "known answer wrong" in err) == (2, True)  # its weights are random
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    given = ["--image", tmp_path / "red.png", "--classes", "cat, dog"]
    code, text, _ = run(monkeypatch, capsys, "models", "check", out, "--size", "32", "--device", "cpu", *given)
    assert code == 0
    assert "all checks passed" in text
    assert "layers 7-9 x 1 heads, 4 x 4 patches" in text


@pytest.mark.parametrize("command", [("convert", "none.pth", "--as", "albef", "--out", "o"), ("check", "./none")])
def test_what_transformers_says_by_the_way_is_hushed(monkeypatch, capsys, tmp_path, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "")  # so that it is put back
    monkeypatch.delenv("TRANSFORMERS_VERBOSITY")
    assert run(monkeypatch, capsys, "models", *command)[0] == 2
    assert os.environ["TRANSFORMERS_VERBOSITY"] == "error"


def test_check_as_json_with_a_photo_and_classes(monkeypatch, capsys, tmp_path, vocabulary):
    small_blip(depth=9).save_pretrained(tmp_path / "blip")
    shutil.copy(vocabulary, tmp_path / "blip" / "vocab.txt")
    (tmp_path / "blip" / "preset.toml").write_text('[model]\nfamily = "blip"\n[settings]\nlayer = 2\nhead = 1\n')
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")

    code, text, _ = run(
        monkeypatch, capsys, "models", "check", tmp_path / "blip", "--json", "--size", "32", "--device", "cpu",
        "--image", tmp_path / "red.png", "--classes", "red, green", "--precision", "bfloat16",
    )  # fmt: skip

    found = json.loads(text)
    assert code == 0
    assert set(found["match"]) == {"red", "green"}
    assert found["layers"] == list(range(1, 10))
