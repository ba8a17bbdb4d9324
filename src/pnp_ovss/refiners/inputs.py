"""The one check of a refiner's inputs."""

from __future__ import annotations

import numpy as np
import torch

from pnp_ovss.errors import RefinerError
from pnp_ovss.refiners import Evidence


def check_inputs(image: np.ndarray, scores: torch.Tensor, evidence: Evidence | None = None) -> torch.Tensor:
    """`scores` (C, H, W) as float32, once they and `image` (H, W, 3) uint8 are found fit to refine.

    Raises RefinerError for another dtype, shape or size, for no channels or pixels, for NaN or infinity, and for evidence of
    other channels.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        found = f"{getattr(image, 'shape', type(image).__name__)} {getattr(image, 'dtype', '')}".strip()
        raise RefinerError(f"a refiner needs the picture as a (H, W, 3) uint8 RGB array, found {found}")
    if scores.ndim != 3 or not scores.is_floating_point() or scores.shape[1:] != image.shape[:2] or not scores.numel():
        raise RefinerError(
            f"a refiner needs floating-point scores of shape (C >= 1, {image.shape[0]}, {image.shape[1]}) for this "
            f"picture, found {tuple(scores.shape)} {scores.dtype}: resize the scores to the picture first"
        )
    if not torch.isfinite(scores).all():
        raise RefinerError("scores hold NaN or infinity: a class map was divided by zero or overflowed before refining")
    if evidence is not None and not len(evidence.names) == len(evidence.maps) == len(scores):
        raise RefinerError(
            f"evidence for {len(scores)} channels needs as many names and maps, found {len(evidence.names)} names and "
            f"{len(evidence.maps)} maps"
        )
    return scores.detach().float()
