"""What `pnp-ovss segment` tells of a photo: a table for people, a JSON object a line for programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from pnp_ovss.cli.screen import complain, say, say_json, show
from pnp_ovss.errors import PnPError
from pnp_ovss.files import shown

if TYPE_CHECKING:
    from pnp_ovss.segmentation import Segmentation

MAX_ABSENT = 20
"""Absent classes that a photo's table lists; those with the best match scores."""


def tell_failure(photo: Path, error: PnPError, *, json_lines: bool) -> None:
    """A photo that could not be segmented, and why."""
    if json_lines:
        say_json({"image": shown(photo), "error": shown(str(error))})
    else:
        complain(error)


def tell_result(result: Segmentation, paths: dict[str, Path], *, json_lines: bool) -> None:
    """A photo's result and its files."""
    if json_lines:
        say_json({**result.to_dict(), "files": {kind: shown(path) for kind, path in paths.items()}})
        return
    print_table(result)
    say("  " + "  ".join(map(shown, paths.values())))


def print_table(result: Segmentation, *, stderr: bool = False) -> None:
    """Every class with its share and match, and what speaks against it; then how to go on."""
    made = result.provenance
    say(f"{result.image_name} (model {made.model}, policy {made.policy})", stderr=stderr)
    table = Table()
    table.add_column("class")
    table.add_column("pixels", justify="right")
    table.add_column("match", justify="right")
    table.add_column("")
    shares, scores = result.shares, result.match_scores
    absent = sorted((name for name in shares if not shares[name]), key=lambda name: -(scores[name] or 0.0))
    hidden = set(absent[MAX_ABSENT:])
    for name in (name for name in shares if name not in hidden):
        score, verdict = scores[name], result.verdict(name)
        share = f"{shares[name]:.1%}" if shares[name] else "-"
        table.add_row(name, share, "" if score is None else f"{score:.2f}", "" if verdict == "found" else verdict)
    if hidden:
        table.add_row(f"{len(hidden)} more, see the JSON", "-", "", "")
    show(table, stderr=stderr)
    if result.advice:
        say(f"  {result.advice}", stderr=stderr)
