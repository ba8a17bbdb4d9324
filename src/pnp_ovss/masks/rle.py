"""COCO's run lengths (RLE) of masks, written and read without pycocotools.

COCO stores runs column by column (top to bottom, then left to right). Source of the compressed form: the COCO API's
maskApi (rleToString, rleFrString).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.errors import DatasetError

Mask = NDArray[np.bool_]
_DIGITS = 7  # of five bits: enough for runs of 2^33 pixels


def encode_mask(mask: np.ndarray) -> dict[str, object]:
    """COCO's {"size": [H, W], "counts": text} of one (H, W) bool mask.

    >>> encode_mask(np.array([[0, 1], [1, 1]], dtype=bool))
    {'size': [2, 2], 'counts': '13'}
    """
    counts = encode_labels(mask).get(1) or compress_counts(np.array([mask.size]))
    return {"size": list(mask.shape), "counts": counts}


def encode_labels(labels: np.ndarray) -> dict[int, str]:
    """Compressed counts of every label above 0 that occurs in (H, W) labels; one scan for all of them."""
    flat = labels.ravel(order="F")
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    ends = np.append(starts[1:], flat.size)
    values = flat[starts]
    found = {}
    for label in np.unique(values[values > 0]):
        inside = values == label
        edges = np.stack([starts[inside], ends[inside]], axis=1).ravel()
        runs = np.diff(edges, prepend=0, append=flat.size)
        found[int(label)] = compress_counts(runs if runs[-1] else runs[:-1])
    return found


def compress_counts(counts: np.ndarray) -> str:
    """Run lengths (n,) to COCO's text: differences to the run two before, six bits a character.

    The first three stand as they are. Of the six bits five are the number, lowest first, in two's complement; the
    sixth says that more follow.
    """
    rest = counts.astype(np.int64)
    rest[3:] -= counts[1:-2]
    characters = np.zeros((len(rest), _DIGITS), dtype=np.uint8)
    open_ = np.ones(len(rest), dtype=bool)
    for digit in range(_DIGITS):
        bits = rest & 0x1F
        rest >>= 5
        more = rest != np.where(bits & 0x10, -1, 0)
        characters[open_, digit] = (bits + 0x20 * more + 48)[open_]
        open_ &= more
    return characters[characters > 0].tobytes().decode("ascii")


def decode_mask(runs: Mapping[str, object], height: int, width: int) -> Mask:
    """Mask (height, width) of {"size": [height, width], "counts": list or COCO's compressed text}.

    Raises DatasetError for counts that are no runs or do not fill the image.
    """
    counts = runs.get("counts")
    if isinstance(counts, str | bytes):
        counts = decode_counts(counts)
    size, area = runs.get("size"), height * width
    whole = isinstance(counts, list) and all(type(n) is int and 0 <= n <= area for n in counts)
    if not whole or size not in ([height, width], (height, width)) or sum(counts) != area:
        raise DatasetError(
            f"run lengths of size {str(size)[:40]} in an image of {height} x {width}: expected counts that fill it"
        )
    return columns(np.repeat(np.arange(len(counts)) % 2 == 1, counts), height, width)


def decode_counts(text: str | bytes) -> list[int]:
    """Run lengths from COCO's compressed form.

    Six bits a character from "0" on: five of the number, lowest first, and one that says whether more
    follow; the top bit of the last five is the sign. From the fourth number on, each is the difference to
    the one two before.
    """
    data = text.encode() if isinstance(text, str) else text
    counts: list[int] = []
    value = shift = 0
    for byte in data:
        bits = byte - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return counts


def columns(flat: Mask, height: int, width: int) -> Mask:
    """(height, width) of its pixels column by column."""
    return np.ascontiguousarray(flat.reshape(width, height).T)
