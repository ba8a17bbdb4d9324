"""The whole evaluation of one model in one command: policies, baselines, sizes, DropOut, ablation, sensitivity.

    python benchmarks/evaluation.py ../shared/data [--model pocket] [--runs runs] [--limit N] [--only voc]

Each job is a command line that `pnp-ovss` would take, printed before it runs, with --resume: interrupt and start it again
as you like. Last, all tables are written to benchmarks/results/evaluation.md with the machine, the date and the versions.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from evaluation_jobs import READERS, Job, all_jobs
from machine import measured

from pnp_ovss.evaluation.ablation import ablation_table
from pnp_ovss.evaluation.intervals import Interval
from pnp_ovss.evaluation.pages import markdown_table
from pnp_ovss.evaluation.paired import paired_differences
from pnp_ovss.evaluation.report import EvaluationReport, read_report, read_reports
from pnp_ovss.evaluation.sensitivity import sensitivity_table
from pnp_ovss.evaluation.tables import DASH, OPEN, ORACLE, ORACLE_NOTE, Table, per_class, percent, signed

RESULT = Path(__file__).parent / "results" / "evaluation.md"
TABLES = {
    **{dataset: (f"{dataset}: policies and baselines", ()) for dataset in READERS},
    "refiner": ("Refiners on VOC", ("voc-oracle-none", "voc-oracle-densecrf")),
    "size": ("Input sizes on VOC, policy itm", ("voc-itm-none", "voc-itm-densecrf")),
    "voc-dropout": ("Saliency DropOut on VOC, policy oracle, no refiner", ("voc-oracle-none",)),
    "camvid-dropout": ("Saliency DropOut on CamVid, policy oracle, no refiner", ("camvid-oracle-none",)),
}
"""{table: (title, jobs of other tables that stand in it too, with the preset's own size, refiner or drops)}"""


def run(job: Job, options: argparse.Namespace) -> bool:
    """Run a job where its last run stopped; returns whether it has a report."""
    reader, folder = READERS[job.dataset]
    command = ["pnp-ovss", job.command, reader, str(options.data / folder), "--model", options.model, *job.arguments]
    command += ["--out", str(options.runs / f"{job.name}.json"), "--resume"]
    command += ["--limit", str(options.limit)] if options.limit else []
    print(*command, flush=True)
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if done.returncode not in (0, 1):
        print(f"  failed with exit code {done.returncode}", file=sys.stderr)
    return done.returncode in (0, 1)


def write(done: Sequence[Job], options: argparse.Namespace) -> None:
    """All tables into one Markdown file."""
    parts = [_head(options)]
    for name, (title, also) in TABLES.items():
        chosen = [job for job in done if job.table == name or job.name in also]
        if any(job.table == name for job in chosen):
            parts.append(markdown_table(_table(title, chosen, options.runs)))
            if name == "size":
                plot(chosen, options.runs, options.out.with_name("pareto.png"))
    for job in done:
        path = options.runs / f"{job.name}.json"
        if job.command in ("ablate", "sensitivity"):
            reports = read_reports(path)
            table = ablation_table(reports) if job.command == "ablate" else sensitivity_table(reports, "gradcam")
            parts.append(markdown_table(table))
        elif job.name in ("voc-itm-densecrf", "voc-oracle-densecrf"):
            parts.append(markdown_table(per_class(read_report(path))).replace("Classes", f"Classes, {job.title}"))
    options.out.write_text("\n".join(parts), encoding="utf-8")
    print(f"tables: {options.out}")


def plot(chosen: Sequence[Job], runs: Path, path: Path) -> None:
    """mIoU over seconds of every size and refiner, as a picture beside the tables."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    for refine, colour in (("none", "tab:blue"), ("densecrf", "tab:red"), ("bfloat16", "tab:green")):
        jobs_shown = [job for job in chosen if job.name.endswith(refine)]
        reports = [read_report(runs / f"{job.name}.json") for job in jobs_shown]
        points = [(report.seconds_per_image or 0, 100 * report.miou) for report in reports]
        if points:
            axes.plot(*zip(*sorted(points), strict=True), "o-", color=colour, label=refine)
        for job, point in zip(jobs_shown, points, strict=True):
            shown = next((word for word in job.name.split("-") if word.isdigit()), "448")
            axes.annotate(shown, point, textcoords="offset points", xytext=(4, 4))
    axes.set(xlabel="seconds an image, one core", ylabel="VOC-21 mIoU, policy itm, %")
    axes.legend(title="refiner (bfloat16: none)")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def _head(options: argparse.Namespace) -> str:
    about = measured()
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"# Evaluation of `{options.model}`\n\nWritten by `benchmarks/evaluation.py`, {about['date']}, {about['machine']}; "
        f"{versions}. Numbers of images are in the tables: these are parts of the benchmarks' sets, not their full sets. "
        f"mIoU in per cent with 95 % intervals over images. {ORACLE_NOTE}\n"
    )


def _table(title: str, chosen: Sequence[Job], runs: Path) -> Table:
    paths = [runs / f"{job.name}.json" for job in chosen]
    reports = [read_report(path) for path in paths]
    differences = paired_differences(paths, reports)
    alike = [(report.policy == "oracle") == (reports[0].policy == "oracle") for report in reports]
    compared = [differences.get(index) if same else None for index, same in enumerate(alike)]
    rows = tuple(map(_row, chosen, reports, compared))
    columns = ("", "images", OPEN, ORACLE, "without background", "presence F1", "s/image", "against first")
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


def main() -> None:
    """Run the jobs and write the tables of those that have a report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--limit", type=int)
    parser.add_argument("--out", type=Path, default=RESULT, help="The tables; a trial with --limit belongs elsewhere.")
    parser.add_argument(
        "--only", nargs="*", default=[""], help="Only jobs whose names begin so; none: write the tables."
    )
    options = parser.parse_args()
    everything = list(all_jobs(options.data))
    for job in everything:
        if job.name.startswith(tuple(options.only)):
            run(job, options)
    write([job for job in everything if (options.runs / f"{job.name}.json").is_file()], options)


if __name__ == "__main__":
    main()
