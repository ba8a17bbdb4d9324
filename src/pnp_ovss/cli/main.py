"""`pnp-ovss`: the commands and how they fail (one line and exit code 2; `--debug` shows the trace)."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

from pnp_ovss.cli import (
    ablate,
    batch,
    calibrate,
    compare,
    datasets,
    evaluate,
    explain,
    export,
    gallery,
    models,
    segment,
    tune,
    web,
)
from pnp_ovss.errors import PnPError

app = typer.Typer(
    name="pnp-ovss",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the trace of an error instead of one line.")] = False,
) -> None:
    """Masks for any class names from off-the-shelf vision-language models, without training or mask labels."""


app.command("segment")(segment.segment)
app.command("demo")(segment.demo)
app.command("explain")(explain.explain)
app.command("export")(export.export)
app.command("gallery")(gallery.gallery)
app.command("web")(web.web)
app.add_typer(models.app, name="models")
app.command("evaluate")(evaluate.evaluate)
app.command("ablate")(ablate.ablate)
app.command("sensitivity")(ablate.sensitivity)
app.command("compare")(compare.compare)
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
    try:
        code = app(arguments, prog_name="pnp-ovss", standalone_mode=False)
    except PnPError as error:
        code = _fail(error, debug)
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    except Exception as error:
        usage: Any = error
        if not hasattr(usage, "exit_code"):  # a usage error of the command line has one, in every version of typer
            raise
        usage.show()
        code = usage.exit_code
    if code == 130:  # also what typer itself makes of an interrupt
        _say("stopped by the keyboard; what was finished is saved")
    sys.exit(code if isinstance(code, int) else 0)


def _fail(error: PnPError, debug: bool) -> int:
    if debug:
        raise error
    _say(str(error))
    return 2


def _say(message: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"pnp-ovss: {message}", markup=False)
