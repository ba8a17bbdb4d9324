"""`pnp-ovss datasets`: what can be read, and a look at one before any number is believed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pnp_ovss.cli import options as o
from pnp_ovss.cli.screen import remark, say, show
from pnp_ovss.errors import ConfigError
from pnp_ovss.settings import MAX_SEED
from pnp_ovss.words import counted

if TYPE_CHECKING:
    from pnp_ovss.datasets import Dataset, DatasetCheck

app = typer.Typer(help="The data sets: list, check.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A data set's name (see `pnp-ovss datasets list`).", show_default=False)]
Root = Annotated[Path, typer.Argument(help="Its folder.", show_default=False)]
Split = Annotated[str | None, typer.Option("--split", help="Which part; `all` takes every mask in the folder.")]
DataOption = Annotated[
    list[str] | None,
    typer.Option("--data", help="An option of this data set, NAME=VALUE, for example masks=SegmentationClassAug."),
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="The first N images only; with --seed, N drawn at random.")
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, max=MAX_SEED, help="Draw the images of --limit at random.")]


def open_with(name: str, root: Path, split: str | None = None, given: list[str] | None = None) -> Dataset:
    """The data set, with its split and the NAME=VALUE options that were given; what was left out is told."""
    from pnp_ovss.datasets import open_dataset

    options = o.parse_settings(given, "--data", "masks=SegmentationClassAug")
    if split is not None and "split" in options:
        raise ConfigError("the split is given twice, by --split and by --data split=...; leave one out")
    data = open_dataset(name, root, **options, **({} if split is None else {"split": split}))
    if data.left_out:
        remark(f"{data.name}: {data.left_out.sentence()}")
    return data


def look(data: Dataset) -> None:
    """Tell what the first masks hold, and what was left out: wrong ones show before a long run."""
    from pnp_ovss.datasets import first_classes

    remark(f"{data.name}: {first_classes(data)}")
    for fault in data.faults[:5]:
        remark(f"left out: {fault}")


@app.command("list")
def list_() -> None:
    """Names, classes and options of the data sets that can be read."""
    from pnp_ovss.datasets import dataset_options, list_datasets

    table = Table("name", "options")
    for name in list_datasets():
        table.add_row(name, ", ".join(dataset_options(name)) or "-")
    show(table)


@app.command()
def check(
    name: Name,
    root: Root,
    split: Split = None,
    data_option: DataOption = None,
    limit: Limit = None,
    seed: Seed = None,
    sheet: Annotated[Path | None, typer.Option("--sheet", help="Write a contact sheet to this picture.")] = None,
    count: Annotated[int, typer.Option("--count", min=1, max=1000, help="Images on the sheet.")] = 12,
) -> int:
    """Count images, masks and classes, look for faults, and draw a contact sheet. Exit code 1 if there are faults."""
    from pnp_ovss.datasets import check_dataset, contact_sheet
    from pnp_ovss.errors import OutputError
    from pnp_ovss.files import writing
    from pnp_ovss.outputs import refuse_inputs

    data = open_with(name, root, split, data_option).subset(limit, seed)
    if sheet is not None:
        refuse_inputs(
            [sheet], [path for s in data for path in (s.image, getattr(s.labels, "path", s.image))], "its picture"
        )
    found = check_dataset(data)
    _print(data, found)
    if sheet is not None:
        picture = contact_sheet(data, count)
        try:
            with writing(sheet):
                sheet.parent.mkdir(parents=True, exist_ok=True)
                picture.save(sheet)
        except ValueError as error:  # an ending that no format has
            raise OutputError(f"cannot write the contact sheet {sheet}: {error}") from error
        say(f"contact sheet: {sheet}")
    return 0 if found.ok else 1


def _print(data: Dataset, check: DatasetCheck) -> None:
    say(
        f"{data.name}: {counted(check.images, 'image')}, {counted(check.masks, 'mask')} read, {check.classes} of "
        f"{len(data.vocabulary)} classes occur, {check.void_share:.1%} void; {'; '.join(data.notes)}"
    )
    table = Table("label", "class", "images", "pixels")
    names = ("background", *data.names)
    for label, (count, share) in enumerate(zip(check.images_per_class, check.pixel_shares, strict=True)):
        if count:
            table.add_row(str(label), names[label], str(count), f"{share:.1%}")
    show(table)
    if check.unknown_values:
        values = ", ".join(f"{value} (in {counted(count, 'image')})" for value, count in check.unknown_values.items())
        say(f"mask values that are no class: {values}")
    for fault in check.faults[:20]:
        say(f"fault: {fault}")
    if len(check.faults) > 20:
        say(f"... and {len(check.faults) - 20} more")
