"""Options that several commands share, and what they mean for the library."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from pnp_ovss.config import SegmenterConfig
from pnp_ovss.errors import ClassNameError, ConfigError
from pnp_ovss.settings import MAX_SEED
from pnp_ovss.spec import SegmenterSpec

if TYPE_CHECKING:
    from pnp_ovss.classes import Classes as Parsed

Classes = Annotated[
    str | None, typer.Option("--classes", "-c", help="Class names, separated by commas; auto: those that are found.")
]
ClassesFile = Annotated[
    Path | None,
    typer.Option("--classes-file", help="One class a line, synonyms after commas, # comments; - = standard input."),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="A built-in preset (see `pnp-ovss models`), hub id, folder or .toml file.",
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=MAX_SEED, help="Seed of what is drawn.")]

_SETTINGS = {
    "policy": "--policy",
    "size_px": "--size",
    "refine": "--refine",
    "precision": "--precision",
    "rivals": "--background",
}
"""Settings with an option of their own; all others go by --set."""


_HELP = {f.name: str(f.metadata["help"]) for f in dataclasses.fields(SegmenterConfig)}


def _option(kind: Any, text: str, *flags: str) -> Any:
    return Annotated[kind | None, typer.Option(*flags, help=text)]


Size = Annotated[int | None, typer.Option("--size", help=_HELP["size_px"])]
PrecisionOption = Annotated[str | None, typer.Option("--precision", help=_HELP["precision"])]


Command = Callable[..., int]


def taking(
    name: str, options: Sequence[inspect.Parameter], make: Callable[[Mapping[str, Any]], Any]
) -> Callable[[Command], Command]:
    """A decorator: options in place of a command's parameter `name`, which gets what `make` makes of their values."""

    def around(command: Command) -> Command:
        def run(*positional: Any, **named: Any) -> int:
            given = {**defaults, **dict(zip(own, positional, strict=False)), **named}
            made = make({option.name: given[option.name] for option in options})
            return command(**{name: made}, **{key: value for key, value in given.items() if key in own})

        signature = inspect.signature(command)
        hints = get_type_hints(command, include_extras=True)
        own = {key: p.replace(annotation=hints[key]) for key, p in signature.parameters.items() if key != name}
        parameters = [*own.values(), *options]
        defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        run.__doc__ = command.__doc__
        run.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": int}
        run.__signature__ = signature.replace(parameters=[p.replace(kind=p.KEYWORD_ONLY) for p in parameters])  # ty: ignore
        return run

    return around


def takes_segmenter(command: Command) -> Command:
    """The command with options in place of its parameter `spec: SegmenterSpec`: which model, method and settings.

    What the options say comes from `SegmenterConfig`, where each setting is declared once.
    """
    return taking("spec", _segmenter_parameters(), _spec)(command)


def _segmenter_parameters() -> list[inspect.Parameter]:
    found: dict[str, tuple[Any, Any]] = {
        "model": (Model, "pocket"),
        "family": (_option(str, "decoder: --model is one, whatever its config.json says.", "--family"), None),
        "method": (_option(str, "paper, authors-cvpr, authors-later or a .toml file of settings.", "--method"), None),
        "device": (Device, "auto"),
    }
    for name, flag in _SETTINGS.items():
        found[name] = (_option(int if name.endswith("_px") else str, _HELP[name], flag), None)
    listed = "JSON {photo: list of class names} for policy file."
    found["candidates"] = (_option(Path, listed, "--candidates"), None)
    more = "Any other setting, NAME=VALUE (TOML), for example --set drops=2."
    found["setting"] = (_option(list[str], more, "--set"), None)
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in found.items()
    ]


def _spec(given: Mapping[str, Any]) -> SegmenterSpec:
    """What the options say. A list of candidates means policy `file` unless another is named."""
    from pnp_ovss.candidates import Candidates
    from pnp_ovss.presets import AS_DECODER

    settings = merge_settings({name: given[name] for name in _SETTINGS}, given["setting"])
    listed = None if given["candidates"] is None else Candidates.read(given["candidates"]).names
    settings = settings if listed is None else {"policy": "file", **settings}
    if given["family"] not in (None, "decoder"):
        raise ConfigError(f"--family {given['family']}: only decoder can be asked for; of all others the files tell")
    model = given["model"] if given["family"] is None else f"{AS_DECODER}{given['model']}"
    return SegmenterSpec(
        model=model, method=given["method"], device=given["device"], settings=settings, candidates=listed
    )


def read_classes(classes: str | None, classes_file: Path | None, *, automatic: bool = False) -> Parsed:
    """The classes of `--classes` and `--classes-file`, validated. automatic: whether they may be those that are found."""
    from pnp_ovss.automatic import Automatic, asked_classes
    from pnp_ovss.classes import parse_class_lines, read_class_file
    from pnp_ovss.cli.pipes import PIPE, piped_text

    if classes is not None and classes_file is not None:
        raise ClassNameError("give --classes or --classes-file, not both")
    if classes_file == PIPE:
        return parse_class_lines(piped_text())
    if classes_file is not None:
        return read_class_file(classes_file)
    if classes is None:
        raise ClassNameError("no classes were given; use --classes 'cat, sofa' or --classes-file FILE")
    asked = asked_classes(classes)
    if isinstance(asked, Automatic) and not automatic:
        raise ClassNameError(
            f"'{asked.source}' finds names photo by photo, and this command needs a list; name the classes"
        )
    return asked


def with_fixed_ids(spec: SegmenterSpec, names: Parsed) -> tuple[SegmenterSpec, Parsed]:
    """For many photos in one file of results: `auto` as all its candidates, of which as many compete in each photo."""
    from pnp_ovss.automatic import MOST, Automatic
    from pnp_ovss.classes import Classes

    if not isinstance(names, Automatic):
        return spec, names
    if spec.candidates is not None:
        raise ConfigError(f"'{names.source}' finds the names itself; leave --candidates out, or name the classes")
    settings = {"match_top_k": MOST, **spec.settings, "policy": "itm"}
    return dataclasses.replace(spec, settings=settings), Classes(names)


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
        whole = re.sub(r"^([+-]?)\.(?=\d)", r"\g<1>0.", value)  # TOML has no .5
        try:
            found[name] = tomllib.loads(f"x = {whole}")["x"]
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
