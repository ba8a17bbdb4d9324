"""What `evaluate`, `ablate` and `sensitivity` share: their options, and from options to a system and its results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pnp_ovss.cli import options as o
from pnp_ovss.cli.progress import watching
from pnp_ovss.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from pnp_ovss.datasets import Dataset
    from pnp_ovss.evaluation.run import Results, RunOptions
    from pnp_ovss.evaluation.systems import System

Policy = Annotated[
    str | None,
    typer.Option("--policy", help="Which classes compete: itm, oracle (the ground truth's), all, file, clip."),
]


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
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes, each with its own model.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")]
Void = Annotated[str, typer.Option("--void", help="Pixels without ground truth: ignore, or background (the authors').")]


def make_system(model: str, has_background: bool, candidates: Path | None, *, kind: str = "", **options: Any) -> System:
    """The system that the options describe; picklable by name, for worker processes."""
    from pnp_ovss.evaluation.ablation import AblationSystem
    from pnp_ovss.evaluation.sensitivity import SensitivitySystem
    from pnp_ovss.evaluation.systems import SegmenterSystem, dataset_settings
    from pnp_ovss.policies import Candidates

    given = {item.partition("=")[0].strip() for item in options["settings"] or []}
    decided = {key: value for key, value in dataset_settings(has_background).items() if key not in given}
    if candidates is not None and options["policy"] is None and "policy" not in given:
        options["policy"] = "file"
    segmenter = o.make_segmenter(model, **options, **decided)
    if segmenter.config.policy == "file" and candidates is None:
        raise ConfigError("policy 'file' needs --candidates FILE.json; or choose --policy itm, all or oracle")
    listed = Candidates.read(candidates) if candidates is not None else Candidates()
    if kind == "ablation":
        return AblationSystem(segmenter, listed)
    if kind:
        stage, _, every = kind.partition("-")
        return SensitivitySystem(segmenter, "full" if stage == "full" else "gradcam", bool(every), listed)
    return SegmenterSystem(segmenter, listed)


def make_one_baseline(name: str, has_background: bool, device: str) -> System:
    """A baseline by name; picklable by name, for worker processes."""
    from pnp_ovss.baselines import make_baseline

    return make_baseline(name, background=has_background, device=device)


def default_path(dataset: str, *options: str | None) -> Path:
    """runs/DATASET-OPTION-....json of what was asked for, so that runs with other options have other names."""
    words = [dataset.replace("/", "-"), *(Path(option).name.removesuffix(".toml") for option in options if option)]
    return Path("runs") / ("-".join(words) + ".json")


def records_path(report: Path) -> Path:
    """Where the records of a report stand: REPORT.images.jsonl beside it."""
    return report.with_suffix(".images.jsonl")


def check_new(reports: Iterable[Path], *, resume: bool) -> None:
    """Refuse to begin where an earlier run has left its records. Raises OutputError."""
    for records in () if resume else map(records_path, reports):
        if records.exists():
            raise OutputError(f"{records} holds an earlier run; go on with it by --resume, or choose another --out")


def run_on(data: Dataset, make: Callable[[], System], path: Path, options: RunOptions, *, title: str) -> Results:
    """Run with a progress bar; the records stand beside the report."""
    from pnp_ovss.evaluation.run import run

    check_new([path], resume=options.resume)
    with watching(title, data.has_background) as progress:
        return run(data, make, records_path(path), options, progress=progress)


def parse_void(value: str) -> Any:
    """`ignore` or `background`."""
    if value not in ("ignore", "background"):
        raise ConfigError(f"void {value!r}: choose from ignore, background")
    return value


def parse_sizes(text: str | None) -> Sequence[int | None]:
    """Input sizes from `336` or `224,336`; [None] if none was given."""
    if text is None:
        return [None]
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"size {text!r}: give pixels, or several like 224,336") from None


def parse_baselines(text: str | None) -> Sequence[str]:
    """Names of baselines from `a, b`; unknown ones are refused before anything is run."""
    from pnp_ovss.baselines import check_baseline

    names = [name.strip() for name in text.split(",")] if text else []
    for name in names:
        check_baseline(name)
    return names
