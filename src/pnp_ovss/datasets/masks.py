"""Indexed mask files: pictures whose pixel values are class numbers, translated by a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pnp_ovss.datasets.base import VOID, Labels, UnknownLabelError
from pnp_ovss.errors import DatasetError

_INDEXED_MODES = ("P", "L", "1", "I", "I;16")
_UNKNOWN = -1

LabelTable = tuple[tuple[int, int], ...]
"""Pairs of a mask value and the label that it means."""


@dataclass(frozen=True)
class IndexedMask:
    """Reads the labels of one mask file: `IndexedMask(path, table)()`.

    `table` pairs the values that may occur in the file with the labels they mean (see `label_table`).
    """

    path: Path
    table: LabelTable

    def __call__(self) -> Labels:
        """Labels (H, W) int32. Raises DatasetError, or UnknownLabelError for values outside the table."""
        values = read_indexed(self.path)
        lookup = _lookup(self.table)
        labels = lookup[np.minimum(values, len(lookup) - 1)]
        unknown = (labels == _UNKNOWN) | (values >= len(lookup))
        if unknown.any():
            bad = tuple(int(value) for value in np.unique(values[unknown]))
            raise UnknownLabelError(
                f"{self.path} holds the values {_some(bad)}, which are no class; known: {self._known()}", bad
            )
        return labels

    def _known(self) -> str:
        return _some(sorted(value for value, _ in self.table))


def label_table(classes: Mapping[int, int], *, void: tuple[int, ...] = ()) -> LabelTable:
    """The table of an IndexedMask: mask value -> label for `classes`, mask value -> `VOID` for `void`."""
    return (*sorted(classes.items()), *((value, VOID) for value in sorted(void)))


def read_indexed(path: Path) -> NDArray[np.int64]:
    """The values (H, W) of a picture with one channel. Raises DatasetError if it is missing or in colour."""
    try:
        with Image.open(path) as mask:
            if mask.mode not in _INDEXED_MODES:
                raise DatasetError(
                    f"{path} is a picture of mode {mask.mode}; expected an indexed or grey mask, "
                    "its values class numbers"
                )
            values = np.array(mask, dtype=np.int64)
    except (OSError, SyntaxError, ValueError) as error:
        raise DatasetError(f"cannot read the mask {path}: {error}") from None
    if values.size and values.min() < 0:
        raise DatasetError(f"{path} holds negative values; expected class numbers from 0")
    return values


@lru_cache(maxsize=16)
def _lookup(table: LabelTable) -> NDArray[np.int32]:
    lookup = np.full(max(value for value, _ in table) + 1, _UNKNOWN, dtype=np.int32)
    for value, label in table:
        lookup[value] = label
    lookup.setflags(write=False)
    return lookup


def _some(values: list[int] | tuple[int, ...]) -> str:
    """Numbers for an error message: runs as `a-b`, at most eight parts."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1][1:] = [value]
        else:
            runs.append([value])
    parts = ["-".join(map(str, run)) for run in runs]
    return ", ".join(parts[:8]) + (", ..." if len(parts) > 8 else "")
