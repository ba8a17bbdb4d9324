"""`pnp-ovss evaluate`: one system, or several side by side, on a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pnp_ovss.cli import datasets as d
from pnp_ovss.cli import evaluating as e
from pnp_ovss.cli import options as o
from pnp_ovss.cli.screen import complain, say
from pnp_ovss.cli.tables import print_table
from pnp_ovss.errors import ConfigError

if TYPE_CHECKING:
    from pnp_ovss.evaluation.report import EvaluationReport
    from pnp_ovss.evaluation.run import Results
    from pnp_ovss.evaluation.systems import System

Examples = Annotated[int, typer.Option("--examples", min=0, help="So many best and worst images in the pages.")]


def evaluate(
    dataset: d.Name,
    root: d.Root,
    model: o.Model = "pocket",
    policy: e.Policy = None,
    method: o.Method = None,
    refine: o.Refine = None,
    precision: o.PrecisionOption = None,
    device: o.Device = "auto",
    sizes: Annotated[
        str | None,
        typer.Option("--size", "--sizes", help="Side of the input, px; several (224,336) give a report each."),
    ] = None,
    setting: o.Setting = None,
    candidates: o.Candidates = None,
    split: d.Split = None,
    data_option: d.DataOption = None,
    limit: d.Limit = None,
    seed: o.Seed = 0,
    void: e.Void = "ignore",
    class_split: Annotated[
        str | None,
        typer.Option("--class-split", help="Only the paper's unseen or vil-seg classes (supplements 9, 11)."),
    ] = None,
    synonyms: Annotated[
        bool, typer.Option("--synonyms", help="Prompt all names of a class, not only its first.")
    ] = False,
    out: e.Out = None,
    save_labels: Annotated[Path | None, typer.Option("--save-labels", help="Write each image's labels here.")] = None,
    examples: Examples = 3,
    baselines: Annotated[
        str | None, typer.Option("--baselines", help="Evaluated beside it: background, random, tags, maskclip, ...")
    ] = None,
    only_baselines: Annotated[bool, typer.Option("--only-baselines", help="Leave the method itself out.")] = False,
    workers: e.Workers = 1,
    resume: e.Resume = False,
) -> int:
    """Evaluate the method on a data set: mIoU with its interval, beside the paper's figures.

    Writes the report (JSON, Markdown, HTML) and one record an image, from which an interrupted run is resumed.
    """
    from pnp_ovss.datasets import load_split
    from pnp_ovss.evaluation.run import RunOptions

    data = d.open_with(dataset, root, split, data_option).subset(limit, seed)
    if class_split is not None:
        data = data.restrict(load_split(class_split, data.vocabulary.name).labels, class_split)
    run_options = RunOptions(e.parse_void(void), synonyms, resume, workers, save_labels)
    make = partial(
        e.make_system, model, data.has_background, candidates, method=method, policy=policy, device=device, seed=seed,
        refine=refine, precision=precision, settings=setting,
    )  # fmt: skip
    jobs: dict[str, Callable[[], System]] = {}
    for pixels in () if only_baselines else e.parse_sizes(sizes):
        jobs[f"{pixels} px" if pixels else ""] = partial(make, size_px=pixels)
    for name in e.parse_baselines(baselines):
        jobs[name] = partial(e.make_one_baseline, name, data.has_background, device)
    if not jobs:
        raise ConfigError("--only-baselines needs --baselines, for example --baselines background,maskclip")
    base = out or e.default_path(data.name, *([] if only_baselines else [model, method, policy, refine, precision]))
    paths = {name: _named(base, name if len(jobs) > 1 or out is None else "") for name in jobs}
    e.check_new(paths.values(), resume=resume)
    reports = []
    for name, job in jobs.items():
        results = e.run_on(data, job, paths[name], run_options, title=f"{data.name} {name or model}")
        reports.append(_report(results, paths[name], examples, job))
    _print_beside(reports)
    for path in paths.values():
        say(f"report: {path}")
    return 1 if any(report.failed for report in reports) else 0


def _report(results: Results, path: Path, examples: int, make: Callable[[], System]) -> EvaluationReport:
    """Write a run's report and pages, print its summary and, if there are any, its first failures."""
    from pnp_ovss.evaluation.examples import best_and_worst
    from pnp_ovss.evaluation.pages import write_pages
    from pnp_ovss.evaluation.report import summarise
    from pnp_ovss.evaluation.tables import beside_paper, per_class, splits, summary

    report = summarise(results)
    report.save(path)
    tables = [table for table in (summary(report), beside_paper([report]), splits(report)) if table is not None]
    shown = best_and_worst(results, make, examples)
    write_pages(path, f"{report.dataset}: {report.model}", tables, per_class(report), shown)
    print_table(summary(report))
    for failure in report.failures[:5]:
        complain(f"{failure['id']}: {failure['error']}")
    return report


def _print_beside(reports: Sequence[EvaluationReport]) -> None:
    from pnp_ovss.evaluation.tables import beside_paper, splits

    for table in (beside_paper(reports), splits(reports[0])):
        if table is not None:
            print_table(table)


def _named(base: Path, name: str) -> Path:
    """The path of one of several reports: base-NAME.json, the first without a name."""
    plain = "".join(character if character.isalnum() else "-" for character in name).strip("-")
    return base.with_name(f"{base.stem}-{plain}{base.suffix or '.json'}") if plain else base
