"""COCO's compressed run lengths (RLE) of masks, written without pycocotools.

The inverse is `pnp_ovss.datasets.rasterise.rasterise`. Source of the format: the COCO API's maskApi (rleToString).
"""

from __future__ import annotations

import numpy as np

_DIGITS = 7  # of five bits: enough for runs of 2^33 pixels


def encode_mask(mask: np.ndarray) -> dict[str, object]:
    """COCO's {"size": [H, W], "counts": text} of one (H, W) bool mask.

    >>> encode_mask(np.array([[0, 1], [1, 1]], dtype=bool))
    {'size': [2, 2], 'counts': '13'}
    """
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(edges, prepend=0, append=flat.size)
    first = [0] if flat.size and flat[0] else []  # the first run is always of zeros
    return {"size": list(mask.shape), "counts": compress_counts(np.concatenate([first, runs]).astype(np.int64))}


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
