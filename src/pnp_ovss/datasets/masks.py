"""Indexed mask files: pictures whose pixel values are class numbers, translated by a table."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pnp_ovss.datasets.base import VOID, Labels, UnknownLabelError
from pnp_ovss.datasets.turns import upright
from pnp_ovss.errors import DatasetError

_INDEXED_MODES = ("P", "L", "1", "I", "I;16")
_LOSSY = ("JPEG", "MPO")
_UNKNOWN = -1

LabelTable = tuple[tuple[int, int], ...]
"""Pairs of a mask value and the label that it means."""


@dataclass(frozen=True)
class IndexedMask:
    """Reads the labels of one mask file: `IndexedMask(path, table, photo)()`.

    `table` pairs the values that may occur in the file with the labels they mean (see `label_table`); `photo` is the
    picture that the mask belongs to, with which it is turned; `colours` is the palette that such files have; `hint`
    is said with unknown values.
    """

    path: Path
    table: LabelTable
    photo: Path | None = None
    colours: Literal["any", "voc"] = "any"
    hint: str = ""

    def __call__(self) -> Labels:
        """Labels (H, W) int32. Raises DatasetError, or UnknownLabelError for values outside the table."""
        values = read_indexed(self.path, known=frozenset(value for value, _ in self.table), colours=self.colours)
        lookup = _lookup(self.table)
        labels = lookup[np.minimum(values, len(lookup) - 1)]
        unknown = (labels == _UNKNOWN) | (values >= len(lookup))
        if unknown.any():
            known = sorted(value for value, _ in self.table)
            bad = tuple(int(value) for value in np.unique(values[unknown]))
            raise UnknownLabelError(
                f"{self.path} holds the values {_some(bad)}, which are no class; known: {_some(known)}{self.hint}", bad
            )
        return upright(labels, self.photo)


def label_table(classes: Mapping[int, int], *, void: tuple[int, ...] = ()) -> LabelTable:
    """The table of an IndexedMask: mask value -> label for `classes`, mask value -> `VOID` for `void`."""
    return (*sorted(classes.items()), *((value, VOID) for value in sorted(void)))


def read_indexed(
    path: Path, *, known: Collection[int] = (), colours: Literal["any", "voc"] = "any"
) -> NDArray[np.int64]:
    """The values (H, W) of a picture with one channel.

    known: the values that mean something, colours: the palette that such files have; a palette that contradicts its
    values was made by another program. Raises DatasetError if the file is missing, in colour, or changed by its format.
    """
    try:
        with Image.open(path) as mask:
            if mask.format in _LOSSY:
                raise DatasetError(f"{path} is a {mask.format}, which changes values at every edge: save masks as PNG")
            if mask.mode not in _INDEXED_MODES:
                raise DatasetError(
                    f"{path} is a picture of mode {mask.mode}; expected an indexed or grey mask, "
                    "its values class numbers"
                )
            values = np.array(mask, dtype=np.int64)
            palette = mask.getpalette() if mask.mode == "P" else None
    except DatasetError:
        raise
    except Exception as error:  # whatever a decoder raises on damaged bytes
        raise DatasetError(f"cannot read the mask {path}: {error}") from None
    if values.size and values.min() < 0:
        raise DatasetError(f"{path} holds negative values; expected class numbers from 0")
    if palette and (meant := _meant(np.array(palette).reshape(-1, 3), np.unique(values), known, colours)):
        raise DatasetError(
            f"{path}: value {meant[0]} has the colour of value {meant[1]} in its palette, so another program numbered it "
            "anew: save the mask with its own class numbers"
        )
    return values


def _meant(
    palette: NDArray[np.int64], used: NDArray[np.int64], known: Collection[int], colours: str
) -> tuple[int, int] | None:
    """The first value whose colour is another value's, where all colours of a picture are those of known values.

    Programs that make pictures smaller sort grey masks anew: 0, 15, 255 become 0, 1, 2 with these three greys.
    """
    values = [value for value in used.tolist() if value < len(palette)]
    grey = {(value, value, value): value for value in range(256)}
    for system in (grey, voc_colours()) if colours == "voc" else (grey,):
        meant = [system.get(tuple(palette[value].tolist()), -1) for value in values]
        if meant != values and all(value in known for value in meant):
            return next(pair for pair in zip(values, meant, strict=True) if pair[0] != pair[1])
    return None


@lru_cache(maxsize=1)
def voc_colours() -> dict[tuple[int, int, int], int]:
    """{colour: value} of the palette of Pascal VOC's masks: bits 0, 3, 6 of the value are red's highest, and so on.

    >>> voc_colours()[128, 0, 0], voc_colours()[224, 224, 192]
    (1, 255)
    """
    value = np.arange(256)
    channels = [sum(((value >> (3 * bit + c)) & 1) << (7 - bit) for bit in range(3)) for c in range(3)]
    return {tuple(colour): i for i, colour in enumerate(np.stack(channels, axis=1).tolist())}


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
