"""The whole evaluation of one model in one command: policies, baselines, sizes, ablation and sensitivity of one model.

    python benchmarks/evaluation.py ../shared/data [--model pocket] [--runs runs] [--limit N] [--only voc]

Each job is a command line that `pnp-ovss` would take, printed before it runs, with --resume: interrupt and start it again
as you like. Last, all tables are written to benchmarks/results/evaluation.md with the machine, the date and the versions.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pnp_ovss.evaluation.ablation import ablation_table
from pnp_ovss.evaluation.intervals import Interval
from pnp_ovss.evaluation.pages import markdown_table
from pnp_ovss.evaluation.paired import paired_differences
from pnp_ovss.evaluation.report import EvaluationReport, load_report
from pnp_ovss.evaluation.sensitivity import sensitivity_table
from pnp_ovss.evaluation.tables import DASH, ORACLE_NOTE, Table, per_class, percent, signed

RESULT = Path(__file__).parent / "results" / "evaluation.md"
FOLDERS = {"voc": "voc", "coco-object": "coco", "camvid": "camvid"}


@dataclass(frozen=True)
class Job:
    """One command. `title` is what its row is called; `table` is where it stands."""

    name: str
    table: str
    title: str
    arguments: tuple[str, ...]
    command: str = "evaluate"
    dataset: str = "voc"


def jobs(data: Path) -> Iterator[Job]:
    """All of them, the most telling first."""
    tags = data / "pairs" / "pairs.jsonl"
    for dataset in FOLDERS:
        for policy in ("itm", "oracle", "all"):
            yield Job(f"{dataset}-{policy}", dataset, f"policy {policy}", ("--policy", policy), dataset=dataset)
        yield Job(
            f"{dataset}-all-global", dataset, "policy all, one scale for all classes",
            ("--policy", "all", "--set", "normalise=global"), dataset=dataset,
        )  # fmt: skip
        names = ["background", "random", "tags"] if dataset != "camvid" else ["random", "tags"]
        if tags.is_file() and dataset != "camvid":
            names.append(f"cam:{tags}")
        for name in names:
            short = name.partition(":")[0]
            yield Job(f"{dataset}-{short}", dataset, f"baseline {short}", (name,), "baseline", dataset)
    yield Job("voc-crf-off", "refiner", "oracle, no refiner", ("--policy", "oracle", "--refine", "none"))
    yield Job("voc-pamr", "refiner", "oracle, PAMR", ("--policy", "oracle", "--refine", "pamr"))
    for size in ("224", "352"):
        yield Job(f"voc-{size}", "size", f"oracle, {size} px", ("--policy", "oracle", "--size", size))
    yield Job("voc-ablation", "ablation", "", ("--policy", "oracle", "--set", "drops=4"), "ablate")
    shallow = ("--policy", "oracle", "--refine", "none", "--every-head")
    yield Job("voc-sensitivity", "sensitivity", "", shallow, "sensitivity")


def run(job: Job, options: argparse.Namespace) -> bool:
    """Run a job where its last run stopped; returns whether it has a report."""
    root = str(options.data / FOLDERS[job.dataset])
    common = ["--out", str(options.runs / f"{job.name}.json"), "--resume"]
    common += ["--limit", str(options.limit)] if options.limit else []
    if job.command == "baseline":
        arguments = ["--baselines", *job.arguments, "--only-baselines", "--examples", "0"]
        command = ["evaluate", job.dataset, root, *arguments]
    else:
        more = ["--examples", "3"] if job.command == "evaluate" else []
        command = [job.command, job.dataset, root, "--model", options.model, *job.arguments, *more]
    print("pnp-ovss", *command, *common, flush=True)
    done = subprocess.run(["pnp-ovss", *command, *common], stdout=subprocess.DEVNULL, check=False)
    if done.returncode not in (0, 1):
        print(f"  failed with exit code {done.returncode}", file=sys.stderr)
    return done.returncode in (0, 1)


def write(done: Sequence[Job], options: argparse.Namespace) -> None:
    """All tables into one Markdown file."""
    parts = [_head(options)]
    for dataset in FOLDERS:
        chosen = [job for job in done if job.table == dataset]
        if chosen:
            parts.append(markdown_table(_table(f"{dataset}: policies and baselines", chosen, options.runs)))
    for name, title in (("refiner", "Refiners on VOC"), ("size", "Input sizes on VOC")):
        first = [job for job in done if job.name == "voc-oracle"]
        chosen = [*first, *(job for job in done if job.table == name)]
        if len(chosen) > 1:
            parts.append(markdown_table(_table(title, chosen, options.runs)))
    for job in done:
        path = options.runs / f"{job.name}.json"
        if job.command in ("ablate", "sensitivity"):
            reports = {name: _revive(entry) for name, entry in json.loads(path.read_text("utf-8")).items()}
            table = ablation_table(reports) if job.command == "ablate" else sensitivity_table(reports, "gradcam")
            parts.append(markdown_table(table))
        elif job.name in ("voc-itm", "voc-oracle"):
            parts.append(markdown_table(per_class(load_report(path))).replace("Classes", f"Classes, {job.title}"))
    RESULT.write_text("\n".join(parts), encoding="utf-8")
    print(f"tables: {RESULT}")


def _head(options: argparse.Namespace) -> str:
    from pnp_ovss.versions import library_versions

    versions = ", ".join(f"{name} {version}" for name, version in library_versions().items())
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    return (
        f"# Evaluation of `{options.model}`\n\nWritten by `benchmarks/evaluation.py`, {date.today()}, {machine}; "
        f"{versions}. Numbers of images are in the tables: these are parts of the benchmarks' sets, not their full sets. "
        f"mIoU in per cent with 95 % intervals over images. {ORACLE_NOTE}\n"
    )


def _table(title: str, chosen: Sequence[Job], runs: Path) -> Table:
    paths = [runs / f"{job.name}.json" for job in chosen]
    reports = [load_report(path) for path in paths]
    differences = paired_differences(paths, reports)
    rows = tuple(
        _row(job, report, differences.get(index))
        for index, (job, report) in enumerate(zip(chosen, reports, strict=True))
    )
    columns = (
        "",
        "images",
        "mIoU, open",
        "mIoU, oracle",
        "without background",
        "presence F1",
        "s/image",
        "against first",
    )
    return Table(title, columns, rows, ("* the paired interval excludes zero", *reports[0].notes))


def _row(job: Job, report: EvaluationReport, difference: Interval | None) -> tuple[str, ...]:
    figure = percent(report.miou, report.interval)
    either = (DASH, figure) if report.policy == "oracle" else (figure, DASH)
    return (
        job.title,
        str(report.images),
        *either,
        percent(report.miou_without_background),
        percent(report.presence["micro_f1"]),
        f"{report.seconds_per_image or 0:.2f}",
        DASH if difference is None else signed(difference),
    )


def _revive(entry: dict) -> EvaluationReport:
    for name in ("interval", "interval_without_background", "notes", "failures"):
        entry[name] = tuple(entry[name])
    return EvaluationReport(**entry)


def main() -> None:
    """Run the jobs and write the tables of those that have a report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--limit", type=int)
    parser.add_argument("--only", help="Only jobs whose name begins so; the tables take all that have a report.")
    options = parser.parse_args()
    everything = list(jobs(options.data))
    for job in everything:
        if job.name.startswith(options.only or ""):
            run(job, options)
    write([job for job in everything if (options.runs / f"{job.name}.json").is_file()], options)


if __name__ == "__main__":
    main()
