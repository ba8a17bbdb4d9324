"""`pnp-ovss tune`: layer, head, threshold and blur from photos and the names of what is in them, without masks."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pnp_ovss.cli import options as o
from pnp_ovss.cli.screen import console, say, show
from pnp_ovss.errors import OutputError
from pnp_ovss.outputs import refuse_foreign
from pnp_ovss.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from pnp_ovss.tuning.maps import TaggedImage
    from pnp_ovss.tuning.search import Trial
    from pnp_ovss.tuning.tune import Tuned

Images = Annotated[
    list[Path], typer.Argument(help="Photos or folders of photos; or the data set's folder.", show_default=False)
]
Tags = Annotated[
    str, typer.Option("--tags", help="JSON {file name: [class names]}, or a data set's name (presence alone is read).")
]
Split = Annotated[str, typer.Option("--split", help="The data set's split; tune on train, never on what you report.")]
ScorerName = Annotated[
    str, typer.Option("--scorer", help="self, match:MODEL, clip (the paper's ViT-L/14 at 336) or clip:ID|FOLDER.")
]
ScorerSize = Annotated[
    int | None,
    typer.Option("--scorer-size", min=16, max=4096, help="Side of the pictures that a self or match scorer sees, px."),
]
RewardName = Annotated[str, typer.Option("--reward", help="paper (Eq. 4-5), or another of docs/tuning.md.")]
Stage = Annotated[str, typer.Option("--mask-stage", help="gradcam (the paper's), dropout or crf.")]
SamplerName = Annotated[str, typer.Option("--sampler", help="random (the paper's), tpe or grid (all points).")]
Trials = Annotated[int, typer.Option("--trials", min=1, max=100_000, help="Trials in each shard.")]
Shards = Annotated[int, typer.Option("--shards", min=1, max=1000, help="Parts of the search space.")]
Shard = Annotated[
    int | None,
    typer.Option("--shard", min=1, max=1000, help="Search only this part (from 1): one process each, on one --out."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the trials in the journal beside --out.")]
MeanHead = Annotated[bool, typer.Option("--mean-head", help="Let the mean over a layer's heads compete, too.")]
Blur = Annotated[bool, typer.Option("--blur/--no-blur", help="Tune the blur afterwards.")]
OnPresence = Annotated[
    bool,
    typer.Option(
        "--presence", help="Fit match_threshold to the tags instead; a name that a photo lacks is absent there."
    ),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Use the first N photos only.")]


def _preset_path(path: Path) -> Path:
    """The path of a preset, refused before hours of work: by another ending --model would not read it."""
    if path.suffix != ".toml":
        raise OutputError(f"{path} would be no preset for --model: choose another --out, a name that ends in .toml")
    return path


OutFile = Annotated[Path, typer.Option("--out", "-o", callback=_preset_path, help="The preset to write, .toml.")]


@o.takes_segmenter
def tune(
    images: Images,
    tags: Tags,
    split: Split = "train",
    scorer: ScorerName = "self",
    scorer_size: ScorerSize = None,
    reward: RewardName = "paper",
    mask_stage: Stage = "gradcam",
    sampler: SamplerName = "random",
    trials: Trials = 34,
    shards: Shards = 3,
    shard: Shard = None,
    resume: Resume = False,
    mean_head: MeanHead = False,
    blur: Blur = True,
    presence: OnPresence = False,
    limit: Limit = None,
    seed: o.Seed = 0,
    out: OutFile = Path("model.toml"),
    *,
    spec: o.SegmenterSpec,
) -> int:
    """Choose layer, head, T and blur without mask labels.

    A reward that needs none decides; the result is a preset for --model.

    Beside --out lie its journal (for --resume) and, with matplotlib, a plot. With --presence: how sure a model must be that
    a name is there, by micro-F1 on the tags; add it after the search, with --model on what that wrote.
    """
    refuse_foreign(out, b"# Written by `pnp-ovss tune`", "preset", beside=() if resume else (".png",))
    if presence:
        return _fit_presence(spec, _tagged(images, tags, split, limit), seed, out)
    from pnp_ovss.tuning.maps import MapStore
    from pnp_ovss.tuning.preset import evidence, write_preset
    from pnp_ovss.tuning.scorers import make_scorer
    from pnp_ovss.tuning.search import BLURS, SearchPlan
    from pnp_ovss.tuning.tune import TuneOptions
    from pnp_ovss.tuning.tune import tune as search

    plan = SearchPlan(sampler=sampler, trials=trials, shards=shards, seed=seed, only_shard=shard)
    blurs = BLURS if blur else ()
    options = TuneOptions(reward=reward, stage=mask_stage, mean_head=mean_head, blurs=blurs, plan=plan)
    tagged = _tagged(images, tags, split, limit)
    segmenter = spec.make()
    own_size = segmenter.config.size_px if scorer == "self" else None
    judge = make_scorer(scorer, segmenter.vlm, size_px=scorer_size or own_size, device=spec.device)
    with (
        tempfile.TemporaryDirectory(prefix="pnp-ovss-", ignore_cleanup_errors=True) as folder,
        _progress() as (track, report),
    ):
        store = MapStore(segmenter.vlm, tagged, segmenter.config, Path(folder)).build(track)
        tuned = search(store, judge, options, journal=out.with_suffix(".journal"), resume=resume, report=report)
        found = evidence(store, judge, options, tuned)
    preset = spec.preset()
    own = {"size_px": segmenter.config.size_px, **tuned.settings}
    write_preset(out, preset, {**preset.settings, **spec.settings, **own}, found)
    _print(tuned, found, [out, *_plot(out.with_suffix(".png"), tuned, f"{preset.name}, {judge.name}, {reward}")])
    return 0


def _fit_presence(spec: o.SegmenterSpec, tagged: Sequence[TaggedImage], seed: int, out: Path) -> int:
    from rich.progress import track

    from pnp_ovss.presence import SHARE_OF_MEDIAN
    from pnp_ovss.tuning.presence import fit_presence
    from pnp_ovss.tuning.preset import presence_evidence, write_preset

    show_progress = partial(track, description="matching", console=console(stderr=True), transient=True)
    fitted = fit_presence(spec.make(), tagged, seed=seed, track=show_progress)
    preset, found = spec.preset(), presence_evidence(fitted)
    write_preset(out, preset, {**preset.settings, **spec.settings, **fitted.settings}, found)
    table = Table(
        title=f"{counted(fitted.images, 'image')}, {counted(len(fitted.names), 'name')}, {counted(fitted.tags, 'tag')}",
        title_justify="left",
    )
    for column in ("rule", "precision", "recall", "F1", "gain, 95 %"):
        table.add_column(column, justify="right")
    for result in fitted.results:
        found, gain = result.presence, result.gain
        figures = (f"{figure:.3f}" for figure in (found.precision, found.recall, found.micro_f1))
        table.add_row(str(result.rule), *figures, f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]")
    show(table)
    if fitted.by_share:
        shares = ", ".join(f"{share:g}: {f1:.3f}" for share, f1 in fitted.by_share.items())
        say(f"micro-F1 by the share of its median that a name is moved by ({SHARE_OF_MEDIAN:g} is in use): {shares}")
    chosen = ", ".join(f"{name} = {value}" for name, value in fitted.settings.items())
    say(f"chosen: {chosen}")
    say(f"  {out}")
    return 0


def _tagged(images: list[Path], tags: str, split: str, limit: int | None) -> tuple[TaggedImage, ...]:
    """The photos that are used, all of which can be read."""
    from pnp_ovss.tuning.tags import check_readable

    found = _all_tagged(images, tags, split)[:limit]
    check_readable(found)
    return found


def _all_tagged(images: list[Path], tags: str, split: str) -> tuple[TaggedImage, ...]:
    from pnp_ovss.candidates import Candidates
    from pnp_ovss.datasets import dataset_options, list_datasets, open_dataset
    from pnp_ovss.errors import ConfigError
    from pnp_ovss.tuning.tags import dataset_tags, tagged_files

    if tags.lower().endswith(".json") or (tags not in list_datasets() and Path(tags).exists()):
        return tagged_files(images, Candidates.read(tags).names)
    if len(images) != 1:
        raise ConfigError(f"--tags {tags} reads one data set; give its folder alone, not {len(images)} paths")
    splits = {"split": split} if "split" in dataset_options(tags) else {}
    return dataset_tags(open_dataset(tags, images[0], **splits))


@contextmanager
def _progress() -> Generator[tuple[Callable[[Iterable[int]], Iterable[int]], Callable[[Trial], None]]]:
    """Bars for the maps and the trials; the second says what is best so far."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bars:
        trials: list[Trial] = []
        task = None

        def report(trial: Trial) -> None:
            nonlocal task
            if task is None:
                task = bars.add_task("trials", total=None)
            trials.append(trial)
            bars.update(task, advance=1, description=_best_so_far(trials))

        yield lambda indices: bars.track(list(indices), description="maps of all layers and heads"), report


def _best_so_far(trials: list[Trial]) -> str:
    from pnp_ovss.tuning.search import best_trial

    searched = [t for t in trials if t.point.keys() == trials[-1].point.keys()]
    best = best_trial(searched)
    point = ", ".join(f"{name} {value}" for name, value in best.point.items())
    return f"best reward {best.outcome.reward:.3f}: {point}"


def _plot(path: Path, tuned: Tuned, title: str) -> list[Path]:
    """The plot, where matplotlib is installed."""
    from pnp_ovss.errors import DependencyError
    from pnp_ovss.tuning.plots import plot_search

    try:
        plot_search(tuned.trials, path, title=title)
    except DependencyError:
        return []
    return [path]


def _print(tuned: Tuned, found: dict[str, Any], written: list[Path]) -> None:
    """The best settings tried, what was counted, and where the results are."""
    table = Table(title=f"reward '{found['reward']}' by {found['scorer']}", title_justify="left")
    shown = ("layer", "head", "threshold", "reward", "margin", "area")
    for name in shown:
        table.add_column(name, justify="right")
    for row in found["reward_table"][:5]:
        table.add_row(*(str(row[name]) for name in shown))
    show(table)
    say(
        f"{counted(found['images_that_can_earn'], 'image')} counted, {found['images_left_out']} left out (a single class earns "
        f"nothing under Eq. 5); {counted(len(tuned.trials), 'trial')}, {found['equal_best']} with the best reward"
    )
    say(
        f"maps of all layers and heads {tuned.map_s:.1f} s, masks {tuned.effort.mask_s:.1f} s, scorer "
        f"{tuned.effort.scorer_s:.1f} s ({tuned.effort.scored} pictures scored of {tuned.effort.asked} asked)"
    )
    chosen = ", ".join(f"{name} = {value}" for name, value in tuned.settings.items())
    say(f"chosen: {chosen}")
    say(f"  {'  '.join(map(str, written))}")
