"""What each stage of the training is: steps, rates, views, losses."""

from dataclasses import dataclass, replace

from cache import View
from forward import SCALE
from start import MIRRORED, PLAIN


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run."""

    steps: int
    batch: int = 32
    views: tuple[View, ...] = (PLAIN, MIRRORED)
    rate: float = 1e-3
    thaw_from: float = 2.0
    """Share of the steps after which the trunk's last blocks learn too; above 1: never."""
    thawed_rate: float = 1e-4
    targets: str = ""
    """File of the self-training targets in the work folder; empty: none."""
    cams: bool = False
    """Whether GradCAM itself is fitted to those targets (differentiated twice)."""
    cover: float = 0.0
    """Weight of the overlap of the completed and thresholded GradCAM with the targets."""
    told: bool = False
    """Whether the matching is taught half by the weights that the stage began with, which see both views of a photo."""
    scale: float = SCALE
    seed: int = 0


WORDS = Recipe(steps=900, rate=1e-3)
MASKS = Recipe(steps=1000, rate=6e-4, thaw_from=0.0, targets="pseudo.npz")
CAMS = replace(MASKS, steps=700, batch=20, rate=3e-4, thawed_rate=3e-5, cams=True, cover=0.5, scale=2 * SCALE)
STUDENT = replace(CAMS, steps=1000, batch=16, rate=4e-4, thawed_rate=1e-4, cover=1.0, told=True)
