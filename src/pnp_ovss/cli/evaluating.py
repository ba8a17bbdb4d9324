"""What `evaluate`, `ablate` and `sensitivity` share: their options, and from options to a system and its results."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pnp_ovss.cli import datasets as d
from pnp_ovss.cli import options as o
from pnp_ovss.cli.screen import console, remark, say
from pnp_ovss.errors import ConfigError, OutputError
from pnp_ovss.settings import MAX_SEED

if TYPE_CHECKING:
    from pnp_ovss.datasets.base import Dataset
    from pnp_ovss.evaluation.job import EvaluationJob
    from pnp_ovss.evaluation.metrics import Confusion
    from pnp_ovss.evaluation.recipe import Recipe
    from pnp_ovss.evaluation.run import Results, RunOptions
    from pnp_ovss.evaluation.systems import System
    from pnp_ovss.vlms.base import VisionLanguageModel


def _report_path(path: Path | None) -> Path | None:
    """The path of a report, refused before hours of work and not after them."""
    if path is not None and (path.is_dir() or path.suffix != ".json"):
        raise OutputError(f"--out {path}: the report is one file; give a name that ends in .json")
    return path


Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", callback=_report_path, help="The report, .json (default: runs/DATASET-MODEL-....json)."
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        min=0,
        max=MAX_SEED,
        help="Of the intervals' bootstrap (default 0), and of --limit, whose images are then drawn.",
    ),
]
Workers = Annotated[int, typer.Option("--workers", min=1, max=1024, help="Processes, each with its own model.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")]
Void = Annotated[
    str | None,
    typer.Option("--void", help="Pixels without ground truth: ignore (default), or background (the authors')."),
]
RecipeName = Annotated[
    str | None,
    typer.Option(
        "--recipe", help="table3, table5, table6, table8, open: all settings of that claim, its figures beside."
    ),
]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What every evaluation is asked, its fields the options."""

    split: d.Split = None
    data_option: d.DataOption = None
    limit: d.Limit = None
    seed: Seed = None
    void: Void = None
    recipe: RecipeName = None
    out: Out = None
    workers: Workers = 1
    resume: Resume = False

    def open(self, name: str, root: Path) -> Dataset:
        """The images of a data set that were asked for. Raises DatasetError."""
        return d.open_with(name, root, self.split, self.data_option).subset(self.limit, self.seed)

    def report(self, dataset: str, spec: o.SegmenterSpec | None, last: str | None) -> Path:
        """`--out`, or runs/DATASET-OPTION-....json of what was asked for, so that runs with other options have other names."""
        asked = [last]
        if spec is not None:
            size = f"{spec.settings['size_px']}-px" if "size_px" in spec.settings else None
            own = (spec.settings.get(name) for name in ("policy", "refine", "precision"))
            asked = [spec.model, spec.method, *own, size, last]
        words = [dataset.replace("/", "-"), *(Path(word).name.removesuffix(".toml") for word in asked if word)]
        return self.out or Path("runs") / ("-".join(words) + ".json")

    def options(self, recipe: Recipe | None, *, synonyms: bool = False, save_labels: Path | None = None) -> RunOptions:
        """How to run, void as the recipe has it unless it was given. Raises ConfigError."""
        from pnp_ovss.evaluation.run import RunOptions

        return RunOptions(parse_void(self.void, recipe), synonyms, self.resume, self.workers, save_labels)


def takes_asked(command: o.Command) -> o.Command:
    """The command with options in place of its parameter `asked: Asked`."""
    hints = get_type_hints(Asked, include_extras=True)
    parameters = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name])
        for f in fields(Asked)
    ]
    return o.taking("asked", parameters, lambda given: Asked(**given))(command)


def run_job(job: EvaluationJob, title: str, vlm: VisionLanguageModel | None = None) -> tuple[Results, System | None]:
    """Run with a progress bar. Returns the system too, where it was made in this process."""
    system = job.make(vlm) if job.options.workers == 1 else None
    with watching(title, job.data.has_background) as progress:
        return job.run(system, progress), system


@contextmanager
def watching(title: str, has_background: bool) -> Generator[Callable[[int, int, Confusion], None]]:
    """A bar on standard error while the block runs; yields what `run` calls after each image."""
    from pnp_ovss.evaluation.metrics import compute

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("mIoU {task.fields[miou]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(stderr=True)) as bar:
        task = bar.add_task(title, total=None, miou="-")

        def show(done: int, total: int, confusion: Confusion) -> None:
            value = compute(confusion, background=has_background).miou
            bar.update(task, completed=done, total=total, miou="-" if value != value else f"{100 * value:.1f}")

        yield show


def follow(name: str | None, command: str, spec: o.SegmenterSpec) -> tuple[Recipe | None, o.SegmenterSpec]:
    """The recipe of `--recipe`, if one was named, and the segmenter with its settings where none were given."""
    if name is None:
        return None, spec
    from pnp_ovss.evaluation.recipe import get_recipe

    recipe = get_recipe(name, command)
    return recipe, recipe.apply(spec, spec.preset())


def tell(
    recipe: Recipe | None, spec: o.SegmenterSpec, data: Dataset, options: RunOptions, stage: str | None = None
) -> tuple[str, ...]:
    """Say what the recipe asks for and warn of each difference, before hours of work; what was said."""
    if recipe is None:
        return ()
    preset = spec.preset()
    summary = recipe.summary(spec, preset, options, data.name)
    found = recipe.differences(spec, preset, data, options, stage)
    differs = [f"differs from recipe {recipe.name}: {what}" for what in found]
    say(summary)
    for line in differs:
        remark(line)
    return (summary, *differs)


def parse_void(value: str | None, recipe: Recipe | None = None) -> Any:
    """`ignore` or `background`: as given, or as the recipe says."""
    if value is None:
        return recipe.void if recipe else "ignore"
    if value not in ("ignore", "background"):
        raise ConfigError(f"void {value!r}: choose from ignore, background")
    return value


def parse_sizes(text: str | None) -> Sequence[int]:
    """Input sizes from `224,336`; none if none was given."""
    try:
        return [int(part) for part in text.split(",")] if text else []
    except ValueError:
        raise ConfigError(f"sizes {text!r}: give pixels, for example 224,336") from None


def parse_baselines(text: str | None) -> Sequence[str]:
    """Names of baselines from `a, b`; unknown ones are refused before anything is run."""
    from pnp_ovss.baselines import check_baseline

    names = [name.strip() for name in text.split(",")] if text else []
    for name in names:
        check_baseline(name)
    return names
