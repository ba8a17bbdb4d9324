"""Runs of the evaluation commands: resumed, interrupted, named, of several sizes."""

import json

from pnp_ovss import Segmenter
from pnp_ovss.evaluation.records import read_records
from pnp_ovss.evaluation.report import read_report, read_reports


def test_evaluate_resumes(call, root, tmp_path):
    out = tmp_path / "report.json"
    call("evaluate", "folder", root, "--out", out, "--examples", 0)
    whole, records = read_report(out), out.with_suffix(".images.jsonl")
    lines = records.read_text().splitlines(keepends=True)
    records.write_text("".join(lines[:6]))
    assert call("evaluate", "folder", root, "--out", out, "--examples", 0, "--resume")[0] == 0
    again = read_report(out)
    assert (again.miou, again.interval, again.per_class) == (whole.miou, whole.interval, whole.per_class)
    assert records.read_text().splitlines(keepends=True)[:6] == lines[:6]
    code, _, errors = call("evaluate", "folder", root, "--out", out, "--policy", "all", "--resume")
    assert code == 2
    assert 'settings.policy "itm" -> "all"' in errors


def test_reports_without_a_name_are_named_by_what_was_asked_and_never_overwritten(call, root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = {
        "rectangles-fake": (),
        "rectangles-fake-oracle-none": ("--policy", "oracle", "--refine", "none"),
        "rectangles-fake-64-px": ("--size", 64),
        "rectangles-background": ("--baselines", "background", "--only-baselines"),
    }
    for name, more in asked.items():
        code, screen, _ = call("evaluate", "folder", root, "--examples", 0, *more)
        assert code == 0
        assert f"report: runs/{name}.json" in screen.splitlines()
        assert read_report(tmp_path / f"runs/{name}.json").images == 12
    code, screen, _ = call("ablate", "folder", root, "--limit", 1, "--policy", "oracle")
    assert "report: runs/rectangles-fake-oracle-ablation.json" in screen
    rows = read_reports(tmp_path / "runs/rectangles-fake-oracle-ablation.json")
    assert all("1 of 12 images (first)" in report.notes for report in rows.values())

    before = (tmp_path / "runs/rectangles-fake.images.jsonl").read_bytes()
    for more in ((), ("--set", "drops=0"), ("--sizes", "64,96")):
        code, _, errors = call("evaluate", "folder", root, "--examples", 0, *more)
        assert code == 2
        assert "holds an earlier run; resume it, or choose another place for the report" in errors
    assert (tmp_path / "runs/rectangles-fake.images.jsonl").read_bytes() == before
    assert not (tmp_path / "runs/rectangles-fake-96-px.images.jsonl").exists()  # refused before the first size


def test_other_candidates_do_not_resume(call, root, tmp_path):
    listed, out = tmp_path / "listed.json", tmp_path / "r.json"
    for names, more in ((["red"], ()), (["green"], ("--resume",))):
        listed.write_text(json.dumps({f"{index:02}.png": names for index in range(12)}))
        arguments = ("--candidates", listed, "--out", out, "--examples", 0, *more)
        code, _, errors = call("evaluate", "folder", root, *arguments)
    assert code == 2
    assert "begun with other settings" in errors
    assert read_report(out).failed == 0


def test_a_size_that_the_model_has_not_is_refused_before_the_work_on_the_others(call, root, tmp_path):
    out = tmp_path / "r.json"
    code, _, err = call("evaluate", "folder", root, "--sizes", "64,100", "--out", out)
    assert code == 2
    assert "size 100 is not a multiple of 8; use 96 or 104" in err
    assert list(tmp_path.glob("r*.*")) == []


def test_several_sizes_and_baselines_give_a_report_each(call, root, tmp_path):
    out = tmp_path / "report.json"
    arguments = ("--sizes", "64,96", "--baselines", "background, tags", "--examples", 0, "--out", out)
    code, screen, _ = call("evaluate", "folder", root, *arguments)
    assert code == 0
    names = ["report-64-px", "report-96-px", "report-background", "report-tags"]
    reports = {name: read_report(tmp_path / f"{name}.json") for name in names}
    assert [reports[name].size for name in names] == [64, 96, None, None]
    assert reports["report-background"].miou_without_background == 0
    assert reports["report-tags"].policy == "oracle"
    assert 0 < reports["report-tags"].miou < reports["report-96-px"].miou
    assert sum("here: " in line for line in screen.splitlines()) == 4


def test_an_interrupt_says_that_the_finished_part_is_saved(call, root, tmp_path, monkeypatch):
    out = tmp_path / "r.json"
    asked = []
    original = Segmenter.label

    def interrupted(self, *arguments, **options):
        asked.append(1)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return original(self, *arguments, **options)

    monkeypatch.setattr(Segmenter, "label", interrupted)
    code, _, errors = call("evaluate", "folder", root, "--out", out, "--examples", 0)
    assert code == 130
    assert "stopped by the keyboard; what was finished is saved" in errors
    assert len(read_records(out.with_suffix(".images.jsonl"))[1]) == 3
