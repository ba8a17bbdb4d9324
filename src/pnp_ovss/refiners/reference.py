"""The authors' C++ dense CRF, through the optional package `pydensecrf2`: a check on `densecrf`, not a faster path."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
import torch

from pnp_ovss.errors import DependencyError
from pnp_ovss.refiners import Evidence
from pnp_ovss.refiners.densecrf import DenseCRF, log_prior
from pnp_ovss.refiners.inputs import check_inputs


@dataclass(frozen=True)
class ReferenceCRF(DenseCRF):
    """`DenseCRF` with the same options, computed by pydensecrf on one CPU thread; absent classes are not merged.

    Raises DependencyError where the package is missing.
    """

    name = "densecrf-reference"

    def __post_init__(self) -> None:
        super().__post_init__()
        _pydensecrf()

    def refine(self, image: np.ndarray, scores: torch.Tensor, evidence: Evidence | None = None) -> torch.Tensor:
        """Mean-field probabilities Q (C, H, W) float32, as `DenseCRF.refine`."""
        checked = check_inputs(image, scores, evidence).cpu()
        channels, height, width = checked.shape
        padding = checked.new_zeros(self.absent_classes, height, width)
        prior = log_prior(torch.cat([checked, padding]), replace(self, absent_classes=0))
        crf = _pydensecrf().DenseCRF2D(width, height, len(prior))
        crf.setUnaryEnergy(np.ascontiguousarray(-prior.flatten(1).numpy()))
        if self.gaussian_compat:
            crf.addPairwiseGaussian(sxy=self.gaussian_sxy, compat=self.gaussian_compat)
        if self.bilateral_compat:
            rgb = image.copy(order="C")  # pydensecrf takes writeable arrays only
            deviations = {"sxy": self.bilateral_sxy, "srgb": self.bilateral_srgb}
            crf.addPairwiseBilateral(**deviations, rgbim=rgb, compat=self.bilateral_compat)
        q = torch.from_numpy(np.array(crf.inference(self.iterations), dtype=np.float32))
        return q[:channels].view(channels, height, width).to(scores.device)


def _pydensecrf() -> ModuleType:
    try:
        return importlib.import_module("pydensecrf.densecrf")
    except ImportError as error:
        raise DependencyError(
            "refiner 'densecrf-reference' needs the package pydensecrf2 and a C++ compiler: pip install pydensecrf2"
        ) from error
