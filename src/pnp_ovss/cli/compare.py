"""`pnp-ovss compare`: reports side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pnp_ovss.cli import options as o
from pnp_ovss.cli.tables import print_table
from pnp_ovss.errors import ConfigError


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
