"""MaskCLIP (Zhou, Loy, Dai, "Extract free dense labels from CLIP", ECCV 2022): the paper's strict comparison.

No training: each patch's value projection is compared with the class names. With the paper's two
refinements: key smoothing (patches with like keys share their predictions) and prompt denoising (a class
that is nowhere likelier than one half is dropped). What this differs in from the authors' code: four
templates instead of 85, the picture squashed to a square, and, where a data set has a background, one more
text "background" for it, which needs no labels to set.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from pnp_ovss.baselines.clip_dense import DenseClip, upsample
from pnp_ovss.clip import CLIP_TEMPERATURE, Clip
from pnp_ovss.evaluation.systems import Answer, Query

MODEL = "openai/clip-vit-base-patch16"
BACKGROUND_NAME = "background"


class MaskClip:
    """Labels from CLIP's value features.

    background: whether label 0 competes. smooth: key smoothing. denoise: drop a class whose probability
    exceeds this nowhere; 0 keeps all.
    """

    def __init__(self, clip: DenseClip, *, background: bool, smooth: bool = True, denoise: float = 0.5) -> None:
        self.clip = clip
        self.background = background
        self.smooth = smooth
        self.denoise = denoise

    @classmethod
    def from_pretrained(cls, model: str | Path | None = None, *, background: bool, device: str = "auto") -> MaskClip:
        """From a hub id or a folder. Raises ModelError when the weights cannot be found."""
        return cls(DenseClip(Clip.from_pretrained(model or MODEL, device=device)), background=background)

    def settings(self) -> dict[str, Any]:
        """What identifies the numbers."""
        own = {
            "weights": self.clip.weights(),
            "smooth": self.smooth,
            "denoise": self.denoise,
            "background": self.background,
        }
        return {"model": f"MaskCLIP {self.clip.name}", "policy": "all", "size": self.clip.size_px, **own}

    def answer(self, query: Query) -> dict[str, Answer]:
        """The likeliest class of each pixel."""
        names = [group[0] for group in query.classes]
        texts = self.clip.texts([BACKGROUND_NAME, *names] if self.background else names)
        features = self.clip.dense(query.image)
        shares = (features.patches @ texts.T / CLIP_TEMPERATURE).softmax(dim=1)
        if self.smooth:
            shares = smooth_by_keys(shares, features.keys)
        if self.denoise:
            shares = drop_unlikely(shares, self.denoise)
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
