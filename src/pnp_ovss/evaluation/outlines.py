"""How crisp masks are: the boundary F-score, of outlines instead of areas. Pure.

IoU hardly sees an outline: most pixels of a large mask lie far from it. Csurka, Larlus and Perronnin, "What is a good
evaluation measure for semantic segmentation?", BMVC 2013, section 2.2: of each class that an image shows, precision is the
share of the outline found that lies within a tolerance of the true one, recall the share of the true one within it of that
found; their harmonic mean is averaged over the classes of the images.
"""

import math

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.datasets.base import VOID
from pnp_ovss.masks.regions import grow

TOLERANCE = 0.0075
"""Tolerance as a share of the image's diagonal: the paper's."""


def boundary_scores(
    truth: NDArray[np.integer], labels: NDArray[np.integer], *, tolerance: float = TOLERANCE
) -> dict[int, float]:
    """{label: boundary F-score in [0, 1]} of each class but background whose outline is in the ground truth.

    truth, labels: (H, W), truth also `VOID`, where no outline is looked for on either side: data sets that hide their
    outlines under a void ring (Pascal VOC) have no scores. tolerance: of the diagonal. Raises ValueError for unequal shapes.
    """
    if truth.shape != labels.shape:
        raise ValueError(f"prediction of shape {labels.shape} for ground truth of shape {truth.shape}")
    known = truth != VOID
    radius_px = tolerance * math.hypot(*truth.shape)
    scores = {}
    for label in np.unique(truth[known & (truth != 0)]).tolist():
        true = outline(truth == label, known)
        if true.any():
            scores[label] = _f_score(true, outline(labels == label, known), radius_px)
    return scores


def outline(mask: NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W): the known pixels of a mask beside, above or below a known pixel outside it; the border is no outline."""
    return mask & known & grow(~mask & known, 1)


def near(mask: NDArray[np.bool_], radius_px: float) -> NDArray[np.bool_]:
    """(H, W): the pixels whose distance to a pixel of the mask is `radius_px` or less."""
    height, width = mask.shape
    result = np.zeros_like(mask)
    for dy in range(-min(int(radius_px), height - 1), min(int(radius_px), height - 1) + 1):
        reach = int(math.sqrt(radius_px**2 - dy**2))
        counts = np.cumsum(np.pad(mask, ((0, 0), (reach + 1, reach))), axis=1, dtype=np.int32)
        wide = counts[:, 2 * reach + 1 :] > counts[:, :width]
        result[max(0, dy) : height + min(0, dy)] |= wide[max(0, -dy) : height - max(0, dy)]
    return result


def _f_score(true: NDArray[np.bool_], found: NDArray[np.bool_], radius_px: float) -> float:
    if not found.any():
        return 0.0
    precision = float(near(true, radius_px)[found].mean())
    recall = float(near(found, radius_px)[true].mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
