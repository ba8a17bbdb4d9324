"""What a gallery shows: photos, each with its own words, a caption, and once more without its colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pnp_ovss.classes import Classes, parse_classes
from pnp_ovss.errors import ClassNameError, ConfigError
from pnp_ovss.files import read_toml
from pnp_ovss.images import read_image

_KEYS = {"file": str, "classes": (str, list), "caption": str, "grey": bool}


@dataclass(frozen=True)
class Entry:
    """One photo of a gallery: its file, the classes that are asked of it, what stands below it, and whether in grey."""

    photo: Path
    classes: Classes
    caption: str = ""
    grey: bool = False

    def load(self) -> np.ndarray:
        """The photo, (H, W, 3) uint8; with `grey` its luma (ITU-R 601) in all three channels. Raises ImageError."""
        image = read_image(self.photo)
        return np.array(Image.fromarray(image).convert("L").convert("RGB")) if self.grey else image


def read_list(path: Path, classes: Classes | None = None) -> list[Entry]:
    """The entries of a TOML file: tables `[[photo]]` with `file`, `classes`, `caption` and `grey`.

    file: relative to the list's folder. classes: "cat, sofa" or a list of names or of [name, synonym, ...]; left out,
    the argument `classes`. caption: stands below the photo, after what was asked. Raises ConfigError for a file of
    another form, ClassNameError for impossible names.
    """
    data = read_toml(path, "the list")
    tables = data.get("photo")
    if set(data) != {"photo"} or not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise ConfigError(f'the list {path} must consist of tables [[photo]] with file = "a.jpg" and classes = "cat"')
    return [_entry(table, path, number, classes) for number, table in enumerate(tables, 1)]


def _entry(table: dict[str, Any], path: Path, number: int, classes: Classes | None) -> Entry:
    where = f"the list {path}, photo {number}"
    for key, value in table.items():
        if key not in _KEYS:
            raise ConfigError(f"{where}: unknown key '{key}'; the keys are {', '.join(_KEYS)}")
        if not isinstance(value, _KEYS[key]):
            raise ConfigError(f"{where}: {key} = {value!r} is not possible")
    if "file" not in table:
        raise ConfigError(f'{where} has no file; write file = "a.jpg"')
    asked = parse_classes(table["classes"]) if "classes" in table else classes
    if asked is None:
        raise ClassNameError(f'{where} has no classes; write classes = "cat, sofa" or give --classes for all')
    caption = f"Asked: {', '.join(group[0] for group in asked)}. {table.get('caption', '')}".strip()
    return Entry(path.parent / table["file"], asked, caption, table.get("grey", False))


def with_grey(entries: Sequence[Entry]) -> list[Entry]:
    """Every photo and after it, where the list does not ask for that anyway, the same without its colours."""
    doubled = []
    for entry in entries:
        doubled += [entry] if entry.grey else [entry, replace(entry, grey=True)]
    return doubled
