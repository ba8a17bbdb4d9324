"""`pnp-ovss batch` and `pnp-ovss batch-report`."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from pnp_ovss.cli import options as o
from pnp_ovss.cli.screen import console, say, say_json, show
from pnp_ovss.files import shown
from pnp_ovss.words import counted

Inputs = Annotated[
    list[str],
    typer.Argument(help="Folders, photos, patterns, WebDataset tars, Parquet files.", show_default=False),
]
Engine = Annotated[str, typer.Option("--engine", help="local: this machine; ray: Ray Data.")]
Address = Annotated[
    str | None, typer.Option("--address", help="Ray cluster, for example auto; left out, Ray starts here.")
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, max=1024, help="Processes with a model each; left out, one a usable core."),
]
Threads = Annotated[int, typer.Option("--threads", min=1, max=1024, help="Threads of each worker.")]
Gpus = Annotated[float, typer.Option("--gpus-per-worker", min=0, max=1, help="0.5 puts two workers on a GPU.")]
AtOnce = Annotated[
    int, typer.Option("--at-once", min=1, max=1024, help="Photos a worker encodes together: several fill a GPU better.")
]
TimeLimit = Annotated[float, typer.Option("--time-limit", min=0, max=1e9, help="Seconds a photo may take.")]
MemoryLimit = Annotated[
    float | None,
    typer.Option(
        "--memory-limit",
        min=0,
        max=1e6,
        help="GiB a worker may take, model included; left out, its part of what is free.",
    ),
]
ShardSize = Annotated[int, typer.Option("--shard-size", min=1, max=1_000_000, help="Photos a Parquet shard.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the batch that --out holds.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="With --resume: try the photos that failed again.")]
Pngs = Annotated[bool, typer.Option("--png", help="Write each photo's labels as a PNG too.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@o.takes_segmenter
def batch(
    inputs: Inputs,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the batch.")],
    classes: o.Classes = None,
    classes_file: o.ClassesFile = None,
    engine: Engine = "local",
    address: Address = None,
    workers: Workers = None,
    threads: Threads = 1,
    gpus_per_worker: Gpus = 0.0,
    at_once: AtOnce = 1,
    time_limit: TimeLimit = 300.0,
    memory_limit: MemoryLimit = None,
    shard_size: ShardSize = 1000,
    png: Pngs = False,
    resume: Resume = False,
    retry_failed: RetryFailed = False,
    as_json: Json = False,
    *,
    spec: o.SegmenterSpec,
) -> int:
    """Segment a collection into Parquet shards, resumable.

    One row a photo, whatever happens.

    Exit code 0: every photo segmented; 1: some are rows with status failed; 2: stopped, go on with --resume.
    """
    from pnp_ovss.batch.job import Job, Resources
    from pnp_ovss.batch.run import run_batch

    spec, names = o.with_fixed_ids(spec, o.read_classes(classes, classes_file, automatic=True))
    listed = None if spec.candidates is None else {photo: list(kept) for photo, kept in spec.candidates.items()}
    job = Job(
        classes=names, model=spec.model, method=spec.method, settings=spec.settings, candidates=listed, png=png
    )  # fmt: skip
    resources = Resources.for_this_machine(
        workers=workers, memory_gib=memory_limit, local=engine == "local", threads=threads, device=spec.device,
        gpus_per_worker=gpus_per_worker, time_s=time_limit, at_once=at_once,
    )  # fmt: skip
    with _progress(quiet=as_json) as progress:
        manifest = run_batch(
            inputs, out, job, resources, engine=engine, address=address, shard_size=shard_size, resume=resume,
            retry_failed=retry_failed, progress=progress,
        )  # fmt: skip
    return _conclude(manifest, out, as_json)


@contextmanager
def _progress(*, quiet: bool) -> Generator[Callable[[int, int], None]]:
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("photos: {task.completed}, failed: {task.fields[failed]}"), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task("batch", total=None, failed=0)
        failures = 0

        def tell(photos: int, failed: int) -> None:
            nonlocal failures
            failures += failed
            bar.update(task, advance=photos, failed=failures)

        yield tell


def _conclude(manifest: dict[str, Any], out: Path, as_json: bool) -> int:
    from pnp_ovss.batch.report import count_rows

    run = manifest["runs"][-1]
    counts = count_rows(out)
    if as_json:
        say_json({"out": shown(out), "run": run, "left_out": manifest["left_out"], **counts.to_dict()})
    else:
        speed = f", {run['photos'] / run['seconds']:.2f} photos/s" if run["photos"] else ""
        say(
            f"{counted(run['photos'], 'photo')} in {run['seconds']:.1f} s{speed}; {shown(out)} holds "
            f"{counts.ok} ok and {counts.failed} failed of {counts.photos}: see `pnp-ovss batch-report {shown(out)}`"
        )
        if manifest["left_out"]:
            say(manifest["left_out"])
    return 1 if counts.failed else 0


def batch_report(
    folder: Annotated[Path, typer.Argument(help="The --out of a batch.", show_default=False)],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="HTML file; DIR/report.html if left out.")] = None,
    photos: Annotated[int, typer.Option("--photos", min=0, max=10_000, help="Photos on the contact sheet.")] = 48,
    as_json: Json = False,
) -> int:
    """Count photos, classes and failures of a batch.

    It is checked, and a contact sheet written.

    Exit code 0: one row a photo, all there; 1: the batch is not finished or not sound.
    """
    from pnp_ovss.batch.contact_sheet import MARK, write_contact_sheet
    from pnp_ovss.batch.report import count_rows
    from pnp_ovss.outputs import refuse_foreign

    target = out or folder / "report.html"
    refuse_foreign(target, MARK.encode(), "contact sheet")
    counts = count_rows(folder)
    page = write_contact_sheet(folder, counts, target, photos)
    if as_json:
        say_json({**counts.to_dict(), "html": shown(page)})
    else:
        _print_report(counts, page)
    return 0 if counts.is_complete else 1


def _print_report(counts: Any, page: Path) -> None:
    for line in counts.lines():
        say(line)
    table = Table("class", "photos", "pixels", title_justify="left")
    for name, (found, share) in counts.classes.items():
        table.add_row(name, str(found), f"{share / max(counts.ok, 1):.2%}")
    show(table)
    for (cause, error), number in counts.failures.most_common(10):
        say(f"  {number} x {cause}: {error}")
    say(shown(page))
