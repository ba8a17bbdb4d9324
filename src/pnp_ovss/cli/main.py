"""`pnp-ovss`: the commands and how they fail (one line and exit code 2; `--debug` shows the trace)."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Generator
from types import FrameType
from typing import Annotated, Any

import typer

from pnp_ovss.cli import (
    ablate,
    batch,
    calibrate,
    datasets,
    evaluate,
    explain,
    export,
    gallery,
    models,
    segment,
    serve,
    tune,
    video,
    web,
)
from pnp_ovss.cli.screen import complain, drop_output, say, take_any_text
from pnp_ovss.errors import PnPError
from pnp_ovss.files import shown

INTERRUPTED = 130
"""The exit code after Ctrl+C; after SIGTERM it is 143."""

app = typer.Typer(
    name="pnp-ovss",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # half of what `--help` costs
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(f"pnp-ovss {version('pnp-ovss')}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the trace of an error instead of one line.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Masks for any class names from off-the-shelf vision-language models, without training or mask labels."""


app.command("segment")(segment.segment)
app.command("demo")(segment.demo)
app.command("explain")(explain.explain)
app.command("export")(export.export)
app.command("gallery")(gallery.gallery)
app.command("web")(web.web)
app.command("serve")(serve.serve)
app.command("video")(video.video)
app.add_typer(models.app, name="models")
app.command("evaluate")(evaluate.evaluate)
app.command("ablate")(ablate.ablate)
app.command("sensitivity")(ablate.sensitivity)
app.command("compare")(evaluate.compare)
app.add_typer(datasets.app, name="datasets")
app.command("tune")(tune.tune)
app.command("calibrate")(calibrate.calibrate)
app.command("batch")(batch.batch)
app.command("batch-report")(batch.batch_report)


def main() -> None:
    """Run the command line; errors of the library become one line on standard error and exit code 2."""
    debug = "--debug" in sys.argv
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    take_any_text()
    with _stoppable() as signals:
        try:
            code = app(arguments, prog_name="pnp-ovss", standalone_mode=False)
            sys.stdout.flush()
        except PnPError as error:
            code = _fail(error, debug)
        except (typer.Abort, KeyboardInterrupt):
            code = INTERRUPTED
        except Exception as error:
            code = _end(error, debug)
    if code == INTERRUPTED:  # also what typer itself makes of an interrupt
        complain(f"stopped by {'a signal' if signals else 'the keyboard'}; what was finished is saved")
        code = 128 + signals[0] if signals else code
    sys.exit(code if isinstance(code, int) else 0)


@contextlib.contextmanager
def _stoppable() -> Generator[list[int]]:
    """Let SIGTERM end the block as Ctrl+C does, so that locks, workers and half files go; the list then holds its number."""
    seen: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(error: PnPError, debug: bool) -> int:
    if debug:
        raise error
    complain(error)
    return 2


def _end(error: Exception, debug: bool) -> int:
    """The exit code after a usage error or what the system refuses; anything else is raised."""
    usage: Any = error
    if hasattr(usage, "exit_code"):  # a usage error of the command line has one, in every version of typer
        usage.show()
        return usage.exit_code
    if not isinstance(error, OSError) or debug:
        raise error
    if error.filename is not None:  # a file that the system refuses, of a kind that nobody thought of
        complain(f"{shown(str(error.filename))}: {error.strerror or error}")
        return 2
    if not isinstance(error, BrokenPipeError):  # `| head` has read enough
        complain(f"cannot write the output: {error.strerror or error}")
    drop_output()
    return 2
