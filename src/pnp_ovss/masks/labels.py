"""Label maps resized and counted: (H, W) arrays of class numbers, 0 = background, i = the i-th class (from 1)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def resize_nearest(labels: NDArray, size: tuple[int, int]) -> NDArray:
    """(H, W) labels or a bool mask at another (H', W') px, each pixel the nearest old one's; the dtype stays.

    >>> resize_nearest(np.array([[1, 2]], dtype=np.uint16), (1, 4)).tolist()
    [[1, 1, 2, 2]]
    """
    if labels.shape == tuple(size):
        return labels
    picture = Image.fromarray(labels.astype(np.int32)).resize((size[1], size[0]), Image.Resampling.NEAREST)
    return np.asarray(picture).astype(labels.dtype)


def class_shares(labels: NDArray[np.integer], names: Sequence[str], *, void: int | None = None) -> dict[str, float]:
    """{name: share in [0, 1] of the pixels that are not `void`}, every class listed; 0 everywhere when all are.

    >>> class_shares(np.array([[0, 1], [1, 9]]), ["cat", "dog"], void=9)
    {'cat': 0.6666666666666666, 'dog': 0.0}
    """
    known = labels.ravel() if void is None else labels[labels != void]
    counts = np.bincount(known, minlength=len(names) + 1)
    return {name: float(counts[label] / max(1, known.size)) for label, name in enumerate(names, start=1)}
