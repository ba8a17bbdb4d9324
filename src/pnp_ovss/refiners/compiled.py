"""The Dense CRF compiled by numba for one thread of the CPU: the same lattices and updates, faster."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from pnp_ovss.extras import need
from pnp_ovss.refiners import Evidence
from pnp_ovss.refiners.densecrf import DenseCRF, colour_features, log_prior, position_features
from pnp_ovss.refiners.inputs import check_inputs

if TYPE_CHECKING:
    from pnp_ovss.refiners.compiled_lattice import Lattices

NO_CHANNEL = -1e30  # log prior of the channels that fill a row: their Q is 0
MANY_CHANNELS = 16  # above these, tables of many points take more memory than torch's


@dataclass(frozen=True)
class CompiledCRF(DenseCRF):
    """`DenseCRF` with the same options, compiled: equal to it but for rounding. On other devices it is `DenseCRF`.

    Raises DependencyError where numba is missing. The first use on a machine compiles for some seconds and keeps the result
    in numba's cache, where there is a folder that it may write to.
    """

    name = "densecrf-compiled"

    def __post_init__(self) -> None:
        super().__post_init__()
        need("numba", f"refiner '{self.name}'", "fast")

    def refine(self, image: np.ndarray, scores: torch.Tensor, evidence: Evidence | None = None) -> torch.Tensor:
        """Mean-field probabilities Q (C, H, W) float32, as `DenseCRF.refine`."""
        checked = check_inputs(image, scores, evidence)
        channels = len(checked) + bool(self.absent_classes)
        if checked.device.type != "cpu" or channels == 1 or not self.iterations:
            return super().refine(image, scores, evidence)
        from pnp_ovss.refiners.compiled_lattice import build_lattices

        position = position_features(*image.shape[:2], self.gaussian_sxy, checked.device)
        colour = colour_features(image, self.bilateral_sxy, self.bilateral_srgb, checked.device)
        lattices = build_lattices([position.numpy(), colour.numpy()], [self.gaussian_compat, self.bilateral_compat])
        if lattices is None or (channels > MANY_CHANNELS and lattices.points > 2 * checked[0].numel()):
            return super().refine(image, scores, evidence)  # too many cells to number, or to keep
        prior = log_prior(checked, self).flatten(1)
        return self._mean_field(prior, lattices)[: len(checked)].view(checked.shape)

    def _mean_field(self, prior: torch.Tensor, lattices: Lattices) -> torch.Tensor:
        """Q (C, N) from `prior` (C, N), as `densecrf.mean_field`; rows of 4, 8 or a multiple of 16 channels in between."""
        from pnp_ovss.refiners.compiled_field import CHUNK, kernels_for

        channels, pixels = prior.shape
        lanes = next((lanes for lanes in (4, 8) if channels <= lanes), 16)
        panels = math.ceil(channels / lanes)
        rows = torch.full((len(lattices.vertices), panels * lanes), NO_CHANNEL)
        rows[:pixels, :channels] = prior.t()
        del prior
        share = torch.ones(panels * lanes)
        share[channels - 1] /= max(self.absent_classes, 1)
        blur, update = kernels_for(lanes)
        table, spare = (torch.zeros(panels, lattices.points + 1, lanes).numpy() for _ in range(2))  # aligned by torch
        room = torch.empty(CHUNK, panels * lanes).numpy()
        fixed = (rows.numpy(), lattices.vertices, lattices.weights, share.numpy(), room)
        update(*fixed, spare, table, False, True)
        for left in reversed(range(self.iterations)):
            blur(table, spare, lattices.links)
            spare.fill(0)
            update(*fixed, table, spare, True, left > 0)
            table, spare = spare, table
        return rows[:pixels, :channels].t().contiguous()
