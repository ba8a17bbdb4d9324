"""No refinement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from pnp_ovss.refiners import Evidence
from pnp_ovss.refiners.inputs import check_inputs


@dataclass(frozen=True)
class Unrefined:
    """Scores as they are (method step 13 left out)."""

    name = "none"

    def refine(self, image: np.ndarray, scores: torch.Tensor, evidence: Evidence | None = None) -> torch.Tensor:
        """`scores` (C, H, W) as float32, checked like every refiner's."""
        return check_inputs(image, scores, evidence).clone()
