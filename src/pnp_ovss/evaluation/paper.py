"""The paper's tables 1-8 as data (paper.toml), to be printed beside our own figures."""

import tomllib
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any

_FIELDS = ("system", "checkpoint", "size", "policy", "ours", "note")


@dataclass(frozen=True)
class PaperRow:
    """One row of a table: who, under which conditions, and the figures of the columns that it has."""

    values: dict[str, float | str]
    system: str = ""
    checkpoint: str = ""
    size: str = ""
    """Short side of the input in pixels, as printed; empty where the paper gives none."""
    policy: str = ""
    """`oracle` or `all`; empty in the tables without mIoU."""
    ours: bool = False
    note: str = ""
    keys: dict[str, Any] = field(default_factory=dict)
    """What else identifies the row: group, cite, by, stage, printed, layer, head, parameter, dense_labels."""

    def matches(self, **conditions: Any) -> bool:
        """Whether the row's fields or keys have the given values."""
        return all(self.keys.get(name, getattr(self, name, None)) == value for name, value in conditions.items())


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper, its rows in the printed order."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[PaperRow, ...]
    note: str = ""

    def find(self, **conditions: Any) -> tuple[PaperRow, ...]:
        """The rows for which all the conditions hold, such as `ours=True, checkpoint="BLIP-Flickr"`."""
        return tuple(row for row in self.rows if row.matches(**conditions))


def paper_figure(table: str, column: str, **conditions: Any) -> float | str | None:
    """The figure of the one row of a table that meets the conditions; None where the paper prints a dash.

    Raises LookupError unless exactly one row meets them, or if the table has no such column.

    >>> paper_figure("table3", "voc", ours=True, checkpoint="BLIP-Flickr", size="336")
    52.5
    """
    found = read_tables()[table]
    rows = found.find(**conditions)
    if len(rows) != 1 or column not in found.columns:
        raise LookupError(f"{table} of the paper has {len(rows)} rows with {conditions} and columns {found.columns}")
    return rows[0].values.get(column)


def validation_images(dataset: str) -> int | None:
    """Number of images in the usual validation split of a data set, or None if the paper does not use it."""
    return _read()["datasets"].get(dataset, {}).get("images")


@lru_cache(maxsize=1)
def read_tables() -> dict[str, PaperTable]:
    """The tables by name: `table1` to `table8`, and `speed` of supplement 10."""
    return {name: _table(name, content) for name, content in _read().items() if "rows" in content}


def _table(name: str, content: dict[str, Any]) -> PaperTable:
    columns = tuple(content["columns"])
    common = content.get("common", {})
    rows = tuple(_row({**common, **row}, columns) for row in content["rows"])
    return PaperTable(name, content["title"], columns, rows, content.get("note", ""))


def _row(entry: dict[str, Any], columns: tuple[str, ...]) -> PaperRow:
    values = {column: entry.pop(column) for column in columns if column in entry}
    known = {name: entry.pop(name) for name in _FIELDS if name in entry}
    return PaperRow(values=values, keys=entry, **known)


@lru_cache(maxsize=1)
def _read() -> dict[str, Any]:
    return tomllib.loads((files("pnp_ovss.evaluation") / "paper.toml").read_text(encoding="utf-8"))
