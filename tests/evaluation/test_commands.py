"""The evaluation commands through the entry point, with the fake model."""

import json

import pytest
from PIL import Image

from pnp_ovss.evaluation.records import read_records
from pnp_ovss.evaluation.report import read_report


def test_evaluate_writes_a_report_pages_and_records(call, root, tmp_path):
    out = tmp_path / "o/report.json"
    code, screen, _ = call("evaluate", "folder", root, "--out", out, "--examples", 2)
    assert code == 0
    report = read_report(out)
    assert report.dataset == "rectangles"
    assert report.miou_without_background > 0.5
    assert f"{100 * report.miou:.1f} [" in screen
    assert "policy itm" in screen
    assert len(read_records(out.with_suffix(".images.jsonl"))[1]) == 12
    page = out.with_suffix(".html").read_text()
    assert page.count("<img") == 4
    assert "data:image/jpeg;base64," in page
    assert "http" not in page
    assert len(list(out.with_suffix(".examples").glob("*.jpg"))) == 4
    markdown = out.with_suffix(".md").read_text()
    assert markdown.count("](report.examples/") == 4
    assert "| red | 6 |" in markdown


def test_oracle_and_open_figures_stand_in_different_columns(call, root, tmp_path):
    for policy, column in (("oracle", -1), ("itm", -2)):
        _, screen, _ = call("evaluate", "folder", root, "--policy", policy, "--out", tmp_path / f"{policy}.json")
        row = next(line.split("  ") for line in screen.splitlines() if "here: PnP-OVSS" in line)
        cells = [cell.strip() for cell in row if cell.strip()]
        assert "[" in cells[column]
        assert cells[-3 - column] == "-"


def test_baselines_alone(call, root, tmp_path):
    arguments = ("--baselines", "tags", "--only-baselines", "--examples", 0, "--out", tmp_path / "r.json")
    assert call("evaluate", "folder", root, *arguments)[0] == 0
    assert read_report(tmp_path / "r.json").model == "tags on the whole image"


def test_ids_with_folders_and_blanks_have_records_labels_and_pictures(call, root, tmp_path):
    for folder in ("images", "masks"):
        (root / folder / "day 1").mkdir()
        (root / folder / "00.png").rename(root / folder / "day 1" / "00.png")
    arguments = (
        "--policy",
        "oracle",
        "--examples",
        12,
        "--save-labels",
        tmp_path / "labels",
        "--out",
        tmp_path / "r.json",
    )
    assert call("evaluate", "folder", root, *arguments)[0] == 0
    assert (tmp_path / "labels" / "day 1" / "00.png").is_file()
    assert (tmp_path / "r.examples" / "day 1" / "00.jpg").is_file()
    assert "](r.examples/day%201/00.jpg)" in (tmp_path / "r.md").read_text("utf-8")
    assert '"id":"day 1/00"' in (tmp_path / "r.images.jsonl").read_text("utf-8")


def test_a_run_begins_with_a_look_at_the_masks(call, root, tmp_path):
    (root / "images" / "._00.png").write_bytes(b"x")
    arguments = ("--baselines", "background", "--only-baselines", "--examples", 0, "--out", tmp_path / "r.json")
    code, _, errors = call("evaluate", "folder", root, *arguments)
    assert code == 0
    assert "left out: 1 hidden" in errors
    assert "classes in the first 12 masks: " in errors


def test_failures_are_said_and_give_exit_code_1(call, root, rectangles, tmp_path):
    rectangles[2].image.write_bytes(b"no picture")
    code, _, errors = call("evaluate", "folder", root, "--out", tmp_path / "r.json", "--examples", 0)
    assert code == 1
    assert "pnp-ovss: 02: " in errors
    assert read_report(tmp_path / "r.json").failed == 1


def test_limits_labels_void_and_candidates(call, root, tmp_path):
    listed = tmp_path / "listed.json"
    listed.write_text(json.dumps({f"{index:02}": ["red"] for index in range(12)}))
    arguments = ("--limit", 4, "--seed", 1, "--save-labels", tmp_path / "labels", "--void", "background")
    out = tmp_path / "r.json"
    code, screen, _ = call(
        "evaluate", "folder", root, *arguments, "--candidates", listed, "--out", out, "--examples", 0
    )
    assert code == 0
    report = read_report(out)
    assert (report.images, report.void, report.policy) == (4, "background", "file")
    assert "4 of 12 images (random, seed 1)" in screen
    pictures = sorted((tmp_path / "labels").glob("*.png"))
    assert len(pictures) == 4
    with Image.open(pictures[0]) as picture:
        assert picture.size == (96, 64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "nothing", "."), "no data set 'nothing'"),
        (("evaluate", "folder", "nowhere"), "nowhere is no folder"),
        (("evaluate", "folder", "ROOT", "--void", "x"), "void 'x': choose from ignore, background"),
        (("evaluate", "folder", "ROOT", "--sizes", "big"), "sizes 'big': give pixels"),
        (("evaluate", "folder", "ROOT", "--out", "."), "--out .: the report is one file"),
        (("ablate", "folder", "ROOT", "--out", "report"), "give a name that ends in .json"),
        (("evaluate", "folder", "ROOT", "--data", "order=59_labels"), "has no option 'order'; its options: config"),
        (("ablate", "folder", "ROOT", "--data", "config=3"), "config = 3 is not possible; expected text or a path"),
        (("datasets", "check", "folder", "ROOT", "--data", "name=x"), "has no option 'name'"),
        (
            ("datasets", "check", "context", "ROOT", "--data", "background=yes"),
            "'yes' is not possible; expected true or",
        ),
        (
            ("datasets", "check", "folder", "ROOT", "--data", "config"),
            "--data config: write NAME=VALUE, for example --data",
        ),
        (
            ("datasets", "check", "voc", "ROOT", "--data", "masks=a", "--data", "masks=b"),
            "--data masks=... is given twice",
        ),
        (("datasets", "check", "voc", "ROOT", "--split", "a", "--data", "split=b"), "the split is given twice"),
        (("evaluate", "folder", "ROOT", "--class-split", "unseen"), "no split 'unseen' of the vocabulary"),
        (("evaluate", "folder", "ROOT", "--baselines", "magic"), "unknown baseline 'magic'"),
        (("evaluate", "folder", "ROOT", "--only-baselines"), "--only-baselines needs --baselines"),
        (("sensitivity", "folder", "ROOT", "--stage", "x"), "stage 'x': choose from gradcam, full"),
        (("evaluate", "folder", "ROOT", "--policy", "file"), "policy 'file' needs candidates"),
        (("ablate", "folder", "ROOT", "--method", "authors-later"), "policy 'file' needs candidates"),
        (("compare", "one.json"), "compare needs two reports"),
        (("compare", "one.json", "two.json"), "cannot read the report one.json"),
        (("datasets", "check", "voc", "ROOT"), "expected ROOT/JPEGImages"),
    ],
)
def test_bad_requests_are_one_line(call, root, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, errors = call(*(root if argument == "ROOT" else argument for argument in arguments))
    assert code == 2
    lines = [line for line in errors.splitlines() if line.startswith("pnp-ovss: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert not list(tmp_path.rglob("*.jsonl"))  # refused before anything was run


def test_ablate_and_sensitivity_print_the_papers_figures(call, root, tmp_path):
    out = tmp_path / "a.json"
    code, screen, _ = call("ablate", "folder", root, "--policy", "oracle", "--limit", 3, "--out", out)
    assert code == 0
    row = next(line for line in screen.splitlines() if "+ Drop 4 + Blur + none" in line)
    assert "42.8" in row
    assert set(json.loads(out.read_text())) >= {"attention", "gradcam", "drop1", "blur+crf"}
    out = tmp_path / "s.json"
    code, screen, _ = call("sensitivity", "folder", root, "--policy", "oracle", "--limit", 3, "--out", out)
    assert code == 0
    assert "stage gradcam: the first pass only" in screen
    assert len(json.loads(out.read_text())) == 3 + 4


def test_compare_shows_the_paired_difference(call, root, tmp_path):
    for name, *more in (("a",), ("b", "--policy", "oracle"), ("c", "--limit", "5")):
        call("evaluate", "folder", root, "--examples", 0, "--out", tmp_path / f"{name}.json", *more)
    code, screen, _ = call("compare", *(tmp_path / f"{name}.json" for name in "abc"))
    assert code == 0
    row = next(line for line in screen.splitlines() if "against 1, paired" in line)
    assert row.count("+0.0 [+0.0, +0.0]") == 2  # the same labels; the third on the images they share
    assert "Not comparable: oracle" in screen


def test_datasets_list_and_check(call, root, tmp_path, rectangles):
    assert "coco-stuff" in call("datasets", "list")[1]
    code, screen, _ = call("datasets", "check", "folder", root, "--sheet", tmp_path / "deep/sheet.png", "--count", 4)
    assert code == 0
    assert "12 images, 12 masks read, 4 of 4 classes occur" in screen
    with Image.open(tmp_path / "deep/sheet.png") as sheet:
        assert sheet.width > 600
    rectangles[0].image.write_bytes(b"no picture")
    code, screen, _ = call("datasets", "check", "folder", root)
    assert code == 1
    assert "fault: cannot read the image" in screen


def test_a_class_split_restricts_what_competes(call, tmp_path, monkeypatch):
    from tests.datasets.conftest import Trees

    root = Trees(tmp_path / "voc").voc()
    out = tmp_path / "r.json"
    code, screen, _ = call("evaluate", "voc", root, "--class-split", "unseen", "--out", out, "--examples", 0)
    assert code == 0
    report = read_report(out)
    assert list(report.per_class) == ["background", "potted plant", "sheep", "sofa", "train", "tv monitor"]
    assert "voc/unseen: here, and in the paper" in screen
    row = next(line for line in screen.splitlines() if "MaskCLIP+" in line)
    assert "86.1" in row
