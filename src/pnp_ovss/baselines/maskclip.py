"""MaskCLIP (Zhou, Loy, Dai, "Extract free dense labels from CLIP", ECCV 2022): the paper's strict comparison.

No training: each patch's value projection is compared with the class names. With the paper's two
refinements: key smoothing (patches with like keys share their predictions) and prompt denoising (a class
that is nowhere likelier than one half is dropped). What this differs in from the authors' code: four
templates instead of 85, the picture squashed to a square, and, where a data set has a background, one more
text "background" for it, which needs no labels to set.
"""

from __future__ import annotations

from typing import Any

import torch

from pnp_ovss.baselines.clip_dense import DenseClip, upsample
from pnp_ovss.clip import CLIP_TEMPERATURE, Clip
from pnp_ovss.evaluation.systems import Answer, Query
from pnp_ovss.provenance import fingerprint

MODEL = "openai/clip-vit-base-patch16"
BACKGROUND_NAME = "background"
UNLIKELY = 0.5
"""A class that is nowhere likelier is dropped (prompt denoising)."""


class MaskClip:
    """Labels from CLIP's value features.

    background: whether label 0 competes.
    """

    def __init__(self, clip: DenseClip, *, background: bool) -> None:
        self.clip = clip
        self.background = background

    @classmethod
    def from_spec(cls, model: str, *, background: bool, device: str = "auto") -> MaskClip:
        """From a hub id or a folder, "" = MODEL. Raises ModelError when the weights cannot be found."""
        return cls(DenseClip(Clip.from_pretrained(model or MODEL, device=device)), background=background)

    def settings(self) -> dict[str, Any]:
        """What identifies the numbers."""
        own = {
            "weights": fingerprint(self.clip.model),
            "smooth": True,
            "denoise": UNLIKELY,
            "background": self.background,
        }
        return {"model": f"MaskCLIP {self.clip.name}", "policy": "all", "size": self.clip.size_px, **own}

    def answer(self, query: Query) -> dict[str, Answer]:
        """The likeliest class of each pixel."""
        names = [group[0] for group in query.classes]
        texts = self.clip.texts([BACKGROUND_NAME, *names] if self.background else names)
        features = self.clip.dense(query.image)
        shares = (features.patches @ texts.T / CLIP_TEMPERATURE).softmax(dim=1)
        shares = drop_unlikely(smooth_by_keys(shares, features.keys), UNLIKELY)
        scores = upsample(shares.T, features.grid, query.image.shape[:2])
        labels = scores.argmax(dim=0).cpu().numpy() + (0 if self.background else 1)
        return {"": Answer(labels)}


def smooth_by_keys(shares: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Each patch's mean of all predictions (P, C), weighted by the likeness of keys (P, D), if positive."""
    likeness = (keys @ keys.T).clamp(min=0)
    return likeness @ shares / likeness.sum(dim=1, keepdim=True)


def drop_unlikely(shares: torch.Tensor, threshold: float) -> torch.Tensor:
    """Predictions (P, C) without the classes that exceed the threshold on no patch; all stay if none does."""
    likely = shares.amax(dim=0) > threshold
    return shares * likely if bool(likely.any()) else shares
