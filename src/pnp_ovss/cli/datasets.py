"""`pnp-ovss datasets`: what can be read, and a look at one before any number is believed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pnp_ovss.cli import options as o

if TYPE_CHECKING:
    from pnp_ovss.datasets import Dataset, DatasetCheck

app = typer.Typer(help="The data sets: list, check.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A data set's name (see `pnp-ovss datasets list`).", show_default=False)]
Root = Annotated[Path, typer.Argument(help="Its folder.", show_default=False)]
Split = Annotated[str | None, typer.Option("--split", help="Which part; `all` takes every mask in the folder.")]
Order = Annotated[
    str | None,
    typer.Option("--order", help="context: class order of the masks, 59_labels, mmsegmentation or a file."),
]
Masks = Annotated[str | None, typer.Option("--masks", help="voc: name of the mask folder.")]
Background = Annotated[bool, typer.Option("--with-background", help="context: count what is no class as background.")]
Description = Annotated[Path | None, typer.Option("--config", help="folder: its description, if not in the folder.")]
Limit = Annotated[int | None, typer.Option("--limit", help="At most so many images: the first, or random with --seed.")]


def open_with(
    name: str,
    root: Path,
    *,
    split: str | None = None,
    order: str | None = None,
    masks: str | None = None,
    background: bool = False,
    config: Path | None = None,
) -> Dataset:
    """The data set, with those options that were given."""
    from pnp_ovss.datasets import open_dataset

    given: dict[str, Any] = {"split": split, "order": order, "masks": masks, "config": config}
    given["background"] = background or None
    return open_dataset(name, root, **{key: value for key, value in given.items() if value is not None})


@app.command("list")
def list_() -> None:
    """Names, classes and options of the data sets that can be read."""
    from pnp_ovss.datasets import dataset_options, list_datasets

    table = Table("name", "options")
    for name in list_datasets():
        table.add_row(name, ", ".join(dataset_options(name)) or "-")
    Console().print(table)


@app.command()
def check(
    name: Name,
    root: Root,
    split: Split = None,
    order: Order = None,
    masks: Masks = None,
    background: Background = False,
    config: Description = None,
    limit: Limit = None,
    seed: o.Seed = 0,
    sheet: Annotated[Path | None, typer.Option("--sheet", help="Write a contact sheet to this picture.")] = None,
    count: Annotated[int, typer.Option("--count", help="Images on the sheet.")] = 12,
) -> int:
    """Count images, masks and classes, look for faults, and draw a contact sheet. Exit code 1 if there are faults."""
    from pnp_ovss.datasets import check_dataset, contact_sheet
    from pnp_ovss.errors import OutputError

    data = open_with(
        name, root, split=split, order=order, masks=masks, background=background, config=config
    ).subset(limit, seed)  # fmt: skip
    screen = Console()
    if sheet is not None:
        try:
            sheet.parent.mkdir(parents=True, exist_ok=True)
            contact_sheet(data, count).save(sheet)
        except (OSError, ValueError) as error:
            raise OutputError(f"cannot write the contact sheet {sheet}: {error}") from error
    found = check_dataset(data)
    _print(screen, data, found)
    if sheet is not None:
        screen.print(f"contact sheet: {sheet}", highlight=False, soft_wrap=True)
    return 0 if found.ok else 1


def _print(screen: Console, data: Dataset, check: DatasetCheck) -> None:
    screen.print(
        f"{data.name}: {check.images} images, {check.masks} masks read, {check.classes} of "
        f"{len(data.vocabulary)} classes occur, {check.void_share:.1%} void; {'; '.join(data.notes)}",
        highlight=False,
        soft_wrap=True,
    )
    table = Table("label", "class", "images", "pixels")
    names = ("background", *data.names)
    for label, (count, share) in enumerate(zip(check.images_per_class, check.pixel_shares, strict=True)):
        if count:
            table.add_row(str(label), names[label], str(count), f"{share:.1%}")
    screen.print(table)
    if check.unknown_values:
        values = ", ".join(f"{value} (in {count} images)" for value, count in check.unknown_values.items())
        screen.print(f"mask values that are no class: {values}", highlight=False, soft_wrap=True)
    for fault in check.faults[:20]:
        screen.print(f"fault: {fault}", highlight=False, markup=False, soft_wrap=True)
    if len(check.faults) > 20:
        screen.print(f"... and {len(check.faults) - 20} more", highlight=False)
