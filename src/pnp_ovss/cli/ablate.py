"""`pnp-ovss ablate` and `pnp-ovss sensitivity`: the paper's Tables 5 and 6 on a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pnp_ovss.cli import datasets as d
from pnp_ovss.cli import evaluating as e
from pnp_ovss.cli import options as o
from pnp_ovss.cli.screen import say
from pnp_ovss.cli.tables import print_table
from pnp_ovss.errors import ConfigError

if TYPE_CHECKING:
    from pnp_ovss.evaluation.report import EvaluationReport
    from pnp_ovss.evaluation.run import Results
    from pnp_ovss.evaluation.tables import Table


def ablate(
    dataset: d.Name,
    root: d.Root,
    model: o.Model = "pocket",
    policy: e.Policy = None,
    method: o.Method = None,
    refine: o.Refine = None,
    precision: o.PrecisionOption = None,
    device: o.Device = "auto",
    size: o.Size = None,
    setting: o.Setting = None,
    candidates: o.Candidates = None,
    split: d.Split = None,
    data_option: d.DataOption = None,
    limit: d.Limit = None,
    seed: o.Seed = 0,
    void: e.Void = "ignore",
    out: e.Out = None,
    workers: e.Workers = 1,
    resume: e.Resume = False,
) -> int:
    """What each step adds, as in the paper's Table 5: attention, GradCAM, each dropout, blur, CRF.

    The passes of an image are computed once and shared by all rows.
    """
    from pnp_ovss.evaluation.ablation import ablation_table
    from pnp_ovss.evaluation.run import RunOptions

    data = d.open_with(dataset, root, split, data_option).subset(limit, seed)
    make = partial(
        e.make_system, model, data.has_background, candidates, kind="ablation", method=method, policy=policy,
        device=device, seed=seed, refine=refine, precision=precision, settings=setting, size_px=size,
    )  # fmt: skip
    path = out or e.default_path(data.name, model, method, policy, refine, precision, "ablation")
    results = e.run_on(data, make, path, RunOptions(e.parse_void(void), False, resume, workers), title="ablation")
    return _write_variants(results, path, ablation_table)


def sensitivity(
    dataset: d.Name,
    root: d.Root,
    model: o.Model = "pocket",
    stage: Annotated[
        str, typer.Option("--stage", help="gradcam: first pass of all at once; full: the method with own dropouts.")
    ] = "gradcam",
    every_head: Annotated[bool, typer.Option("--every-head", help="The heads of all layers, not of one.")] = False,
    policy: e.Policy = None,
    method: o.Method = None,
    refine: o.Refine = None,
    precision: o.PrecisionOption = None,
    device: o.Device = "auto",
    size: o.Size = None,
    setting: o.Setting = None,
    candidates: o.Candidates = None,
    split: d.Split = None,
    data_option: d.DataOption = None,
    limit: d.Limit = None,
    seed: o.Seed = 0,
    void: e.Void = "ignore",
    out: e.Out = None,
    workers: e.Workers = 1,
    resume: e.Resume = False,
) -> int:
    """How much layer and head matter, as in the paper's Table 6: every layer's mean, every head of the layer."""
    from pnp_ovss.evaluation.run import RunOptions
    from pnp_ovss.evaluation.sensitivity import sensitivity_table

    if stage not in ("gradcam", "full"):
        raise ConfigError(f"stage {stage!r}: choose from gradcam, full")
    data = d.open_with(dataset, root, split, data_option).subset(limit, seed)
    make = partial(
        e.make_system, model, data.has_background, candidates, kind=f"{stage}-all" if every_head else stage,
        method=method, policy=policy, device=device, seed=seed, refine=refine, precision=precision,
        settings=setting, size_px=size,
    )  # fmt: skip
    path = out or e.default_path(data.name, model, method, policy, refine, precision, f"sensitivity-{stage}")
    results = e.run_on(data, make, path, RunOptions(e.parse_void(void), False, resume, workers), title=f"stage {stage}")
    return _write_variants(results, path, lambda reports: sensitivity_table(reports, stage))


def _write_variants(results: Results, path: Path, make_table: Callable[[Mapping[str, EvaluationReport]], Table]) -> int:
    """Save all variants' reports in one JSON file, and their table as Markdown and on the screen."""
    from pnp_ovss.evaluation.pages import write_pages
    from pnp_ovss.evaluation.report import save_reports, summarise

    reports = {name: summarise(results, name) for name in results.variants} or {"": summarise(results)}
    save_reports(path, reports)
    table = make_table(reports)
    write_pages(path, table.title, [table], None, ())
    print_table(table)
    say(f"report: {path}")
    return 1 if next(iter(reports.values())).failed else 0
