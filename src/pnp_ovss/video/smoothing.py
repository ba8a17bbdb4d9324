"""Scores smoothed over time, begun anew at cuts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.masks.labels import resize_nearest
from pnp_ovss.segmentation import Segmentation

CUT = 0.35
"""Distance of two frames' colour histograms, in [0, 1], from which a cut is between them."""
BINS = 8


class Smoother:
    """Makes labels of results of one film, frame after frame. kept: share of what was before; 0 = each frame alone."""

    def __init__(self, kept: float) -> None:
        self._kept = kept
        self._before: NDArray[np.float32] | None = None
        self._colours: NDArray[np.float32] | None = None

    def labels(self, result: Segmentation) -> NDArray[np.uint16]:
        """(H, W) uint16 labels from the smoothed scores, at the result's size."""
        colours = histogram(result.image)
        if self._colours is not None and 0.5 * np.abs(colours - self._colours).sum() >= CUT:
            self._before = None
        self._colours = colours
        scores = dense_scores(result)
        if self._before is not None and self._before.shape == scores.shape:
            scores = self._kept * self._before + (1 - self._kept) * scores
        self._before = scores
        return resize_nearest(scores.argmax(axis=0).astype(np.uint16), (result.labels.shape[0], result.labels.shape[1]))


def dense_scores(result: Segmentation) -> NDArray[np.float32]:
    """(1 + K, H', W') a result's scores as shares of one at each pixel, 0 for classes that did not compete."""
    dense = np.zeros((1 + len(result.class_names), *result.scores.shape[1:]), dtype=np.float32)
    for channel, scores in zip(result.channels, result.scores, strict=True):
        dense[channel] = np.maximum(dense[channel], scores)
    return dense / np.maximum(dense.sum(axis=0), 1e-12)


def histogram(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(BINS³,) shares of the colours of an (H, W, 3) photo."""
    codes = (image[::4, ::4].astype(np.int32) * BINS) >> 8
    flat = (codes[..., 0] * BINS + codes[..., 1]) * BINS + codes[..., 2]
    counts = np.bincount(flat.ravel(), minlength=BINS**3)
    return (counts / counts.sum()).astype(np.float32)
