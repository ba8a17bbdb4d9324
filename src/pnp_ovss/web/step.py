"""One step of the method as the page shows it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.images import limited_size
from pnp_ovss.masks.labels import resize_nearest

LONGEST_PX = 1024
"""Steps are shown, and computed, at this longer side."""


@dataclass(frozen=True)
class Step:
    """The masks after one step.

    labels: (h, w) uint16. seen: (P_h, P_w) bool, the patches that its pass could see. points: (label, x, y), x and y in
    [0, 1]: what was asked about. notes: sentences about single classes.
    """

    name: str
    text: str
    labels: NDArray[np.uint16]
    seen: NDArray[np.bool_] | None = None
    points: tuple[tuple[int, float, float], ...] = ()
    notes: tuple[str, ...] = ()


def display_size(size: tuple[int, int]) -> tuple[int, int]:
    """(h, w) px at which a (H, W) photo is shown.

    >>> display_size((3000, 4096))
    (750, 1024)
    """
    return limited_size(size, LONGEST_PX)


def shrink_labels(labels: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """(H, W) labels at display size, nearest pixels."""
    return resize_nearest(labels, display_size((labels.shape[0], labels.shape[1])))
