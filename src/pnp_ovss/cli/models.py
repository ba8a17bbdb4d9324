"""`pnp-ovss models`: what can be named by --model."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """List the built-in presets with layer, head, size, download size, source and whether each is in the cache."""
    from pnp_ovss.config import list_presets, load_preset, resolve_config
    from pnp_ovss.vlms.hub import cached_folder

    rows: list[dict[str, Any]] = []
    for name in list_presets():
        preset = load_preset(name)
        config = resolve_config(preset)
        there = "built in" if preset.hub_id is None else "yes" if cached_folder(preset) else "no"
        rows.append(
            {
                "name": name, "hub_id": preset.hub_id, "layer": config.layer, "head": config.head,
                "size_px": config.size_px, "parameters_m": preset.parameters_m, "download_mb": preset.download_mb,
                "licence": preset.licence, "cached": there, "source": preset.source,
            }
        )  # fmt: skip
    if as_json:
        print(json.dumps(rows, indent=2))
        return 0
    table = Table(title="Models for --model")
    for column in ("name", "layer/head", "size", "download", "in cache", "layer, head, T from"):
        table.add_column(column)
    for row in rows:
        download = f"{row['download_mb']} MB" if row["download_mb"] else "-"
        layer = f"{row['layer']}/{row['head']}"
        table.add_row(row["name"], layer, f"{row['size_px']} px", download, row["cached"], row["source"])
    Console().print(table)
    return 0
