"""`pnp-ovss ablate` and `pnp-ovss sensitivity`: the paper's Tables 5 and 6 on a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from pnp_ovss.cli import datasets as d
from pnp_ovss.cli import evaluating as e
from pnp_ovss.cli import options as o
from pnp_ovss.cli.screen import say
from pnp_ovss.cli.tables import print_table
from pnp_ovss.errors import ConfigError

if TYPE_CHECKING:
    from pnp_ovss.evaluation.job import EvaluationJob
    from pnp_ovss.evaluation.report import EvaluationReport
    from pnp_ovss.evaluation.tables import Table


@o.takes_segmenter
def ablate(
    dataset: d.Name,
    root: d.Root,
    split: d.Split = None,
    data_option: d.DataOption = None,
    limit: d.Limit = None,
    seed: o.Seed = 0,
    void: e.Void = "ignore",
    out: e.Out = None,
    workers: e.Workers = 1,
    resume: e.Resume = False,
    *,
    spec: o.SegmenterSpec,
) -> int:
    """What each step adds, as in the paper's Table 5: attention, GradCAM, each dropout, blur, CRF.

    The passes of an image are computed once and shared by all rows.
    """
    from pnp_ovss.evaluation.ablation import ablation_table
    from pnp_ovss.evaluation.job import AblationSpec, EvaluationJob
    from pnp_ovss.evaluation.run import RunOptions

    data = d.open_with(dataset, root, split, data_option).subset(limit, seed)
    job = EvaluationJob(
        data=data, system=AblationSpec(spec), options=RunOptions(e.parse_void(void), False, resume, workers),
        out=out or e.default_path(data.name, *e.words_of(spec), "ablation"),
    )  # fmt: skip
    return _write_variants(job, "ablation", ablation_table)


@o.takes_segmenter
def sensitivity(
    dataset: d.Name,
    root: d.Root,
    stage: Annotated[
        str, typer.Option("--stage", help="gradcam: first pass of all at once; full: the method with own dropouts.")
    ] = "gradcam",
    every_head: Annotated[bool, typer.Option("--every-head", help="The heads of all layers, not of one.")] = False,
    split: d.Split = None,
    data_option: d.DataOption = None,
    limit: d.Limit = None,
    seed: o.Seed = 0,
    void: e.Void = "ignore",
    out: e.Out = None,
    workers: e.Workers = 1,
    resume: e.Resume = False,
    *,
    spec: o.SegmenterSpec,
) -> int:
    """How much layer and head matter, as in the paper's Table 6: every layer's mean, every head of the layer."""
    from pnp_ovss.evaluation.job import EvaluationJob, SensitivitySpec
    from pnp_ovss.evaluation.run import RunOptions
    from pnp_ovss.evaluation.sensitivity import sensitivity_table

    if stage not in ("gradcam", "full"):
        raise ConfigError(f"stage {stage!r}: choose from gradcam, full")
    data = d.open_with(dataset, root, split, data_option).subset(limit, seed)
    job = EvaluationJob(
        data=data, system=SensitivitySpec(spec, stage, every_head),
        options=RunOptions(e.parse_void(void), False, resume, workers),
        out=out or e.default_path(data.name, *e.words_of(spec), f"sensitivity-{stage}"),
    )  # fmt: skip
    return _write_variants(job, f"stage {stage}", lambda reports: sensitivity_table(reports, stage))


def _write_variants(
    job: EvaluationJob, title: str, make_table: Callable[[Mapping[str, EvaluationReport]], Table]
) -> int:
    """Run; save all variants' reports in one JSON file, and their table as Markdown and on the screen."""
    from pnp_ovss.evaluation.pages import write_pages
    from pnp_ovss.evaluation.report import save_reports, summarise

    d.look(job.data)
    results, _ = e.run_job(job, title)
    path = job.out
    reports = {name: summarise(results, name) for name in results.variants} or {"": summarise(results)}
    save_reports(path, reports)
    table = make_table(reports)
    write_pages(path, table.title, [table], None, ())
    print_table(table)
    say(f"report: {path}")
    return 1 if next(iter(reports.values())).failed else 0
