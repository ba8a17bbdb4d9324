"""`pnp-ovss models`: what can be named by --model; fetch, convert and check checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from pnp_ovss.cli import options as o
from pnp_ovss.cli.screen import console, say, say_json, show

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[
    str, typer.Argument(help="A preset of `pnp-ovss models`, hub id (either with @REVISION), folder or .toml file.")
]

app = typer.Typer(
    name="models",
    help="List models; fetch, convert and check their weights.",
    invoke_without_command=True,
    add_completion=False,
)

COLUMNS = (
    "name",
    "size",
    "download",
    "in cache",
    "parameters",
    "layer/head",
    "of",
    "match ≥",
    "licence",
    "layer, head, T from",
)


@app.callback()
def models(context: typer.Context, as_json: AsJson = False) -> int:
    """List the built-in presets: layer and head in use, layers x heads there are, size, licence, download, source."""
    if context.invoked_subcommand is not None:
        return 0
    rows = _rows()
    if as_json:
        say_json(rows, indent=2)
        return 0
    show(_table(rows, console().width))
    return 0


@app.command("fetch")
def fetch(name: Name) -> int:
    """Download weights (also those of `--refine sam`) into the hub's cache; a lost connection is taken up again."""
    from pnp_ovss.presets import get_preset
    from pnp_ovss.refiners.promptable_presets import fetch_promptable, promptable_presets
    from pnp_ovss.vlms.checkpoints.loading import fetch_weights

    if name in promptable_presets():
        say(str(fetch_promptable(name)))
        return 0
    preset = get_preset(name)
    folder = fetch_weights(preset)
    found = f"{preset.name} is built in: nothing to fetch" if folder is None else str(folder)
    say(found)
    return 0


@app.command("convert")
def convert(
    file: Annotated[Path, typer.Argument(help="An original checkpoint: .pth, or pytorch_model.bin for --as hf.")],
    family: Annotated[str, typer.Option("--as", help="albef, mplug, blip (its authors' or LAVIS' names) or hf.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the converted model.")],
    tokenizer: Annotated[
        Path | None, typer.Option("--tokenizer", help="vocab.txt or tokenizer.json of bert-base-uncased.")
    ] = None,
    drop: Annotated[str | None, typer.Option("--drop", help="Regular expression of weights to leave out.")] = None,
) -> int:
    """Rewrite a pickled checkpoint as safetensors with its config, read safely and checked weight by weight."""
    from pnp_ovss.vlms.checkpoints.hub import hush

    hush()
    from pnp_ovss.vlms.checkpoints.convert import convert_file

    folder = convert_file(file, family, out, tokenizer=tokenizer, drop=drop)
    say(f"{folder}: converted; check it with `pnp-ovss models check {folder}`")
    return 0


@app.command("check")
def check(
    name: Name,
    image: Annotated[Path | None, typer.Option("--image", help="A photo of yours instead of the known answer.")] = None,
    classes: o.Classes = None,
    size: o.Size = None,
    precision: o.PrecisionOption = None,
    device: o.Device = "auto",
    as_json: AsJson = False,
) -> int:
    """Check a model: files, heads, weights, vocabulary, and a small known answer on a photo that comes with the package."""
    import dataclasses

    from pnp_ovss.images import read_image
    from pnp_ovss.model_check import check_model
    from pnp_ovss.presets import get_preset
    from pnp_ovss.vlms.checkpoints.hub import hush

    hush()
    names = [group[0] for group in o.read_classes(classes, None)] if classes else ()
    photo = read_image(image) if image else None
    found = check_model(get_preset(name), device=device, photo=photo, names=names, size_px=size, precision=precision)
    if as_json:
        say_json(dataclasses.asdict(found), indent=2)
        return 0
    for line in _report(found).splitlines():
        say(line)
    return 0


def _report(found: Any) -> str:
    seconds = ", ".join(f"{step} {value:.2f} s" for step, value in found.seconds.items())
    match = ", ".join(f"{name} {value:.3f}" for name, value in found.match.items())
    known = ""
    if found.on_person is not None:
        known = f"known answer: person found before ten absent names; {found.on_person:.0%} of the map's peak on the person\n"
    return (
        f"{found.name}: {found.parameters_m} M parameters, layers {found.layers[0]}-{found.layers[-1]} x {found.heads} "
        f"heads, {found.grid[0]} x {found.grid[1]} patches\n{seconds}; peak memory {found.peak_mb} MB\n"
        f"match probability: {match}\n{known}all checks passed"
    )


def _rows() -> list[dict[str, Any]]:
    from pnp_ovss.presets import get_preset, list_presets, resolve

    rows = []
    for name in list_presets():
        preset = get_preset(name)
        config = resolve(preset)
        rows.append(
            {
                "name": name, "hub_id": preset.hub_id, "layer": config.layer, "head": config.head,
                "layers": preset.layers, "heads": preset.heads, "size_px": config.size_px,
                "parameters_m": preset.parameters_m, "download_mb": preset.download_mb, "licence": preset.licence,
                "match_threshold": preset.settings.get("match_threshold"), "cached": _where(preset), "source": preset.source,
            }
        )  # fmt: skip
    return rows


def _where(preset: Any) -> str:
    from pnp_ovss.vlms.checkpoints.hub import cached_folder
    from pnp_ovss.vlms.checkpoints.loading import is_built_in

    if preset.hub_id is None:
        return "built in" if is_built_in(preset) else "convert"
    return "yes" if cached_folder(preset) else "no"


def _table(rows: list[dict[str, Any]], width: int) -> Table:
    """A row a model; columns that do not fit into `width` characters are left out, the last ones first."""
    table = Table(title="Models for --model (layer/head = in use, of = cross-attention layers x heads)")
    cells = [_cells(row) for row in rows]
    left = width - 1
    for index, column in enumerate(COLUMNS):
        left -= max(len(column), *(len(row[index]) for row in cells)) + 3
        if left < 0:
            table.caption = f"left out here: {', '.join(COLUMNS[index:])} (a wider window, or --json)"
            break
        table.add_column(column, no_wrap=True)
    for row in cells:
        table.add_row(*row[: len(table.columns)])
    return table


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    download = f"{row['download_mb']} MB" if row["download_mb"] else "-"
    of = f"{row['layers']} x {row['heads']}" if row["heads"] else "-"
    match = "not fitted" if row["match_threshold"] is None else f"{row['match_threshold']:g}"
    return (
        row["name"], f"{row['size_px']} px", download, row["cached"], f"{row['parameters_m']:g} M",
        f"{row['layer']}/{row['head']}", of, match, row["licence"], row["source"],
    )  # fmt: skip
