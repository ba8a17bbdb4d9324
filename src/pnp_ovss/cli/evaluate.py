"""`pnp-ovss evaluate`: one system, or several side by side, on a data set; `pnp-ovss compare`: reports of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pnp_ovss.cli import datasets as d
from pnp_ovss.cli import evaluating as e
from pnp_ovss.cli import options as o
from pnp_ovss.cli.screen import complain, print_table, say
from pnp_ovss.errors import ConfigError

if TYPE_CHECKING:
    from pnp_ovss.evaluation.job import EvaluationJob, SystemSpec
    from pnp_ovss.evaluation.report import EvaluationReport
    from pnp_ovss.evaluation.run import Results
    from pnp_ovss.evaluation.systems import System
    from pnp_ovss.vlms.base import VisionLanguageModel

Examples = Annotated[
    int, typer.Option("--examples", min=0, max=1000, help="So many best and worst images in the pages.")
]


@o.takes_segmenter
@e.takes_asked
def evaluate(
    dataset: d.Name,
    root: d.Root,
    sizes: Annotated[
        str | None, typer.Option("--sizes", help="Several sides of the input, px (224,336), a report each.")
    ] = None,
    class_split: Annotated[
        str | None,
        typer.Option("--class-split", help="Only the paper's unseen or vil-seg classes (supplements 9, 11)."),
    ] = None,
    synonyms: Annotated[
        bool, typer.Option("--synonyms", help="Prompt all names of a class, not only its first.")
    ] = False,
    save_labels: Annotated[Path | None, typer.Option("--save-labels", help="Write each image's labels here.")] = None,
    examples: Examples = 3,
    baselines: Annotated[
        str | None, typer.Option("--baselines", help="Evaluated beside it: background, random, tags, maskclip, ...")
    ] = None,
    only_baselines: Annotated[bool, typer.Option("--only-baselines", help="Leave the method itself out.")] = False,
    *,
    asked: e.Asked,
    spec: o.SegmenterSpec,
) -> int:
    """Evaluate on a data set: mIoU, beside the paper's figures.

    Writes the report (JSON, Markdown, HTML) and one record an image, from which an interrupted run is resumed.
    """
    from pnp_ovss.datasets import get_split
    from pnp_ovss.evaluation.job import EvaluationJob, MethodSpec, check_new
    from pnp_ovss.evaluation.systems import SegmenterSystem
    from pnp_ovss.evaluation.tables import beside_paper, splits

    data = asked.open(dataset, root)
    if class_split is not None:
        data = data.restrict(get_split(class_split, data.vocabulary.name).labels, class_split)
    recipe, chosen = e.follow(asked.recipe, "evaluate", spec)
    options = asked.options(recipe, synonyms=synonyms, save_labels=save_labels)
    systems = _systems([] if only_baselines else [chosen], e.parse_sizes(sizes), e.parse_baselines(baselines))
    base = asked.report(data.name, None, None) if only_baselines else asked.report(data.name, spec, asked.recipe)
    jobs = {
        name: EvaluationJob(
            data=data,
            system=system,
            options=options,
            out=_named(base, name if len(systems) > 1 or asked.out is None else ""),
        )
        for name, system in systems.items()
    }
    check_new(jobs.values(), resume=asked.resume)
    d.look(data)
    told = {
        name: e.tell(recipe, system.segmenter, data, options)
        for name, system in systems.items()
        if isinstance(system, MethodSpec)
    }
    reports, vlm = [], _loaded(jobs, e.parse_sizes(sizes))
    for name, job in jobs.items():
        results, system = e.run_job(job, f"{data.name} {name or spec.model}", vlm)
        vlm = system.segmenter.vlm if isinstance(system, SegmenterSystem) else vlm
        reports.append(_report(results, job, examples, system, asked.seed, told.get(name, ())))
    print_table(beside_paper(reports))
    if (by_split := splits(reports[0])) is not None:
        print_table(by_split)
    for job in jobs.values():
        say(f"report: {job.out}")
    return 1 if any(report.failed for report in reports) else 0


def _systems(specs: Sequence[o.SegmenterSpec], sizes: Sequence[int], baselines: Sequence[str]) -> dict[str, SystemSpec]:
    """{name: system}: the method, at each size if several are asked, then the baselines."""
    from pnp_ovss.baselines import BaselineSpec
    from pnp_ovss.evaluation.job import MethodSpec

    found: dict[str, SystemSpec] = {}
    for spec in specs:
        variants = {f"{px} px": replace(spec, settings={**spec.settings, "size_px": px}) for px in sizes} or {"": spec}
        found |= {name: MethodSpec(variant) for name, variant in variants.items()}
    device = specs[0].device if specs else "auto"
    found |= {name: BaselineSpec(name, device) for name in baselines}
    if not found:
        raise ConfigError("--only-baselines needs --baselines, for example --baselines background,maskclip")
    return found


def _loaded(jobs: Mapping[str, EvaluationJob], sizes: Sequence[int]) -> VisionLanguageModel | None:
    """The model where several sizes are asked for: one that it has not is refused before the work on the others."""
    from pnp_ovss.evaluation.systems import SegmenterSystem

    first = next(iter(jobs.values()))
    if len(sizes) < 2 or first.options.workers > 1:
        return None
    system = first.make()
    if not isinstance(system, SegmenterSystem):  # baselines alone
        return None
    for px in sizes:
        system.segmenter.replace(size_px=px).input_size(1, 1)
    return system.segmenter.vlm


def _report(
    results: Results,
    job: EvaluationJob,
    examples: int,
    system: System | None,
    seed: int | None,
    recipe: tuple[str, ...],
) -> EvaluationReport:
    """Write a run's report and pages, print its summary and, if there are any, its first failures."""
    from pnp_ovss.evaluation.examples import best_and_worst
    from pnp_ovss.evaluation.pages import write_pages
    from pnp_ovss.evaluation.report import summarise
    from pnp_ovss.evaluation.tables import beside_paper, per_class, presence_by_list, splits, summary

    report = replace(summarise(results, seed=seed or 0), recipe=recipe)
    report.save(job.out)
    own, lists = summary(report), presence_by_list(report)
    tables = [table for table in (own, lists, beside_paper([report]), splits(report)) if table is not None]
    shown = best_and_worst(results, lambda: system or job.make(), examples)
    write_pages(job.out, f"{report.dataset}: {report.model}", tables, per_class(report), shown)
    print_table(own)
    if lists is not None:
        print_table(lists)
    for failure in report.failures[:5]:
        complain(f"{failure['id']}: {failure['error']}")
    return report


def _named(base: Path, name: str) -> Path:
    """The path of one of several reports: base-NAME.json, the first without a name."""
    plain = "".join(character if character.isalnum() else "-" for character in name).strip("-")
    return base.with_name(f"{base.stem}-{plain}{base.suffix or '.json'}") if plain else base


def compare(
    reports: Annotated[list[Path], typer.Argument(help="Reports of `pnp-ovss evaluate`.", show_default=False)],
    seed: o.Seed = 0,
) -> int:
    """Put reports side by side, with their paired differences. These need the records that lie beside the reports."""
    from pnp_ovss.evaluation.paired import paired_differences
    from pnp_ovss.evaluation.report import read_report
    from pnp_ovss.evaluation.tables import compare as compare_table

    if len(reports) < 2:
        raise ConfigError("compare needs two reports or more: pnp-ovss compare first.json second.json")
    loaded = [read_report(path) for path in reports]
    print_table(compare_table(loaded, paired_differences(reports, loaded, seed=seed)))
    return 0
