"""Options that several commands share, and what they mean for the library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pnp_ovss.errors import ClassNameError, ConfigError

if TYPE_CHECKING:
    from pnp_ovss.classes import Classes as Parsed
    from pnp_ovss.segmenter import Segmenter

Classes = Annotated[str | None, typer.Option("--classes", "-c", help="Class names, separated by commas.")]
ClassesFile = Annotated[
    Path | None, typer.Option("--classes-file", help="One class a line, synonyms after commas, # comments.")
]
Model = Annotated[
    str,
    typer.Option("--model", "-m", help="A built-in preset (see `pnp-ovss models`), hub id, folder or .toml file."),
]
Method = Annotated[
    str | None,
    typer.Option("--method", help="paper, authors-cvpr, authors-later or a .toml file of settings."),
]
Policy = Annotated[
    str | None,
    typer.Option("--policy", help="Which classes compete: itm (those the model finds), all, file."),
]
Candidates = Annotated[
    Path | None, typer.Option("--candidates", help="JSON {image: list of class names} for --policy file.")
]
Size = Annotated[int | None, typer.Option("--size", help="Side of the model's input, px.")]
Refine = Annotated[str | None, typer.Option("--refine", help="densecrf, pamr, densecrf-reference or none.")]
PrecisionOption = Annotated[str | None, typer.Option("--precision", help="float32, bfloat16, bfloat16-vision or auto.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
Setting = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any other setting, NAME=VALUE (TOML), for example --set drops=2."),
]


def read_classes(classes: str | None, classes_file: Path | None) -> Parsed:
    """The classes of `--classes` and `--classes-file`, validated."""
    from pnp_ovss.classes import parse_classes, read_class_file

    if classes is not None and classes_file is not None:
        raise ClassNameError("give --classes or --classes-file, not both")
    if classes_file is not None:
        return read_class_file(classes_file)
    if classes is None:
        raise ClassNameError("no classes were given; use --classes 'cat, sofa' or --classes-file FILE")
    return parse_classes(classes)


def parse_settings(settings: list[str] | None, flag: str = "--set", example: str = "drops=2") -> dict[str, Any]:
    """NAME=VALUE pairs, values as TOML (bare words are strings). Raises ConfigError for other forms and for repeats."""
    import tomllib

    found: dict[str, Any] = {}
    for item in settings or []:
        name, equals, value = (part.strip() for part in item.partition("="))
        if not equals:
            raise ConfigError(f"{flag} {item}: write NAME=VALUE, for example {flag} {example}")
        if name in found:
            raise ConfigError(f"{flag} {name}=... is given twice; leave one out")
        try:
            found[name] = tomllib.loads(f"x = {value}")["x"]
        except (ValueError, RecursionError):
            found[name] = value
    return found


def merge_settings(explicit: dict[str, Any], settings: list[str] | None) -> dict[str, Any]:
    """What the options (None = not given) and `--set` say together. Raises ConfigError for what is said twice."""
    given = {name: value for name, value in explicit.items() if value is not None}
    others = parse_settings(settings)
    for name in others:
        if name in given:
            raise ConfigError(f"{name} is given twice, by its own option and by --set {name}=...; leave one out")
        if name in ("model", "method", "device", "refiner"):
            raise ConfigError(f"--set {name}=...: that is no setting; `--help` lists the options")
    return given | others


def make_segmenter(
    model: str,
    *,
    method: str | None = None,
    device: str = "auto",
    seed: int = 0,
    settings: list[str] | None = None,
    **explicit: Any,
) -> Segmenter:
    """The segmenter that the options describe; `explicit` are configuration fields, None = not given."""
    import torch

    from pnp_ovss.segmenter import Segmenter
    from pnp_ovss.vlms.checkpoints.hub import hush

    chosen = merge_settings(explicit, settings)
    hush()
    torch.manual_seed(seed)
    return Segmenter.from_pretrained(model, method=method, device=device, **chosen)
