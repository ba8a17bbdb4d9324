"""`pnp-ovss ablate` and `pnp-ovss sensitivity`: the paper's Tables 5 and 6 on a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from pnp_ovss.cli import datasets as d
from pnp_ovss.cli import evaluating as e
from pnp_ovss.cli import options as o
from pnp_ovss.cli.screen import print_table, say
from pnp_ovss.errors import ConfigError

if TYPE_CHECKING:
    from pnp_ovss.evaluation.job import EvaluationJob
    from pnp_ovss.evaluation.report import EvaluationReport
    from pnp_ovss.evaluation.sensitivity import Stage
    from pnp_ovss.evaluation.tables import Table


@o.takes_segmenter
@e.takes_asked
def ablate(
    dataset: d.Name,
    root: d.Root,
    *,
    asked: e.Asked,
    spec: o.SegmenterSpec,
) -> int:
    """What each step adds, as in the paper's Table 5.

    Attention, GradCAM, each dropout, blur, CRF.

    The passes of an image are computed once and shared by all rows.
    """
    from pnp_ovss.evaluation.ablation import AblationSystem, ablation_table
    from pnp_ovss.evaluation.job import EvaluationJob, MethodSpec

    data = asked.open(dataset, root)
    recipe, chosen = e.follow(asked.recipe, "ablate", spec)
    job = EvaluationJob(
        data=data, system=MethodSpec(chosen, AblationSystem), options=asked.options(recipe),
        out=asked.report(data.name, spec, asked.recipe or "ablation"),
    )  # fmt: skip
    notes = e.tell(recipe, chosen, data, job.options)
    return _write_variants(job, "ablation", ablation_table, asked.seed or 0, notes)


@o.takes_segmenter
@e.takes_asked
def sensitivity(
    dataset: d.Name,
    root: d.Root,
    stage: Annotated[
        str | None,
        typer.Option(
            "--stage", help="gradcam (default): first pass of all at once; full: the method with own dropouts."
        ),
    ] = None,
    every_head: Annotated[bool, typer.Option("--every-head", help="The heads of all layers, not of one.")] = False,
    *,
    asked: e.Asked,
    spec: o.SegmenterSpec,
) -> int:
    """How much layer and head matter, as in the paper's Table 6."""
    from pnp_ovss.evaluation.job import EvaluationJob, MethodSpec
    from pnp_ovss.evaluation.sensitivity import SensitivitySystem, sensitivity_table

    recipe, chosen = e.follow(asked.recipe, "sensitivity", spec)
    looked = _stage(stage or (recipe.stage if recipe else None) or "gradcam")
    data = asked.open(dataset, root)
    system = partial(SensitivitySystem, stage=looked, every_head=every_head)
    job = EvaluationJob(
        data=data, system=MethodSpec(chosen, system), options=asked.options(recipe),
        out=asked.report(data.name, spec, asked.recipe or f"sensitivity-{looked}"),
    )  # fmt: skip
    notes = e.tell(recipe, chosen, data, job.options, looked)
    return _write_variants(
        job, f"stage {looked}", lambda reports: sensitivity_table(reports, looked), asked.seed or 0, notes
    )


def _stage(name: str) -> Stage:
    if name not in ("gradcam", "full"):
        raise ConfigError(f"stage {name!r}: choose from gradcam, full")
    return name


def _write_variants(
    job: EvaluationJob,
    title: str,
    make_table: Callable[[Mapping[str, EvaluationReport]], Table],
    seed: int,
    recipe: Sequence[str] = (),
) -> int:
    """Run; save all variants' reports in one JSON file, and their table as Markdown and on the screen.

    seed: of the bootstrap. recipe: what is to be said of it under the table.
    """
    from pnp_ovss.evaluation.pages import write_pages
    from pnp_ovss.evaluation.report import save_reports, summarise

    d.look(job.data)
    results, _ = e.run_job(job, title)
    path = job.out
    found = {name: summarise(results, name, seed=seed) for name in results.variants or ("",)}
    reports = {name: replace(report, recipe=tuple(recipe)) for name, report in found.items()}
    save_reports(path, reports)
    table = make_table(reports)
    table = replace(table, notes=(*table.notes, *recipe))
    write_pages(path, table.title, [table], None, ())
    print_table(table)
    say(f"report: {path}")
    return 1 if next(iter(reports.values())).failed else 0
