"""f of Eq. 4-5: how alike are a picture and a class name? CLIP as in the paper, or any of our VLMs, itself included.

A scorer is any object with the attributes and methods of `Scorer`; nothing has to be inherited or registered.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from pnp_ovss.clip import CLIP_MODEL, CLIP_TEMPERATURE, Clip
from pnp_ovss.errors import ConfigError
from pnp_ovss.images import input_size, normalise_pixels, to_pixels
from pnp_ovss.presets import resolve
from pnp_ovss.prompt import MATCH_TEMPLATE, Prompt, build_prompts
from pnp_ovss.vlms.base import ImageFeatures, VisionLanguageModel


@runtime_checkable
class Scorer(Protocol):
    """f(I, k) of Eq. 5. `name` is written with every result."""

    name: str

    def score(self, images: Sequence[np.ndarray], class_names: Sequence[str]) -> Tensor:
        """Similarities (len(images), len(class_names)), float32, any range; images are (H, W, 3) uint8."""
        ...

    def score_black(self, class_names: Sequence[str]) -> Tensor:
        """Similarities (len(class_names),) of a black image, which is encoded once."""
        ...


class ClipScorer:
    """Cosine of CLIP's image and text embeddings / 0.01; photos are squashed to a square, names are bare."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self.name = f"clip:{clip.name}"

    @classmethod
    def from_pretrained(cls, model: str | Path = CLIP_MODEL, *, device: str = "auto") -> ClipScorer:
        """From whatever `Clip.from_pretrained` takes, with its errors."""
        return cls(Clip.from_pretrained(model, device=device))

    def score(self, images: Sequence[np.ndarray], class_names: Sequence[str]) -> Tensor:
        """Cosine / 0.01, (len(images), len(class_names)), in [-100, 100], on the CPU."""
        return self.clip.score(images, class_names)

    def score_black(self, class_names: Sequence[str]) -> Tensor:
        """Cosine / 0.01 of a black image, (len(class_names),), on the CPU."""
        return (self._black @ self.clip.texts(class_names).T / CLIP_TEMPERATURE)[0].cpu()

    @cached_property
    def _black(self) -> Tensor:
        return self.clip.images([np.zeros((self.clip.size_px, self.clip.size_px, 3), np.uint8)])


class MatchScorer:
    """The match logit of "A picture of {class}" by one of our VLMs; photos are squashed to a square.

    vlm: any adapter, the model that is tuned among them: then nothing else is needed, and nothing is downloaded.
    """

    def __init__(self, vlm: VisionLanguageModel, *, size_px: int = 336) -> None:
        self.vlm = vlm
        self.size = input_size(1, 1, size_px, vlm.size_step_px, keep_aspect=False)
        self.name = f"match:{vlm.name} at {self.size[0]} px"
        self._prompts: dict[str, Prompt] = {}

    def score(self, images: Sequence[np.ndarray], class_names: Sequence[str]) -> Tensor:
        """Match logits (len(images), len(class_names)), float32, on the CPU."""
        if not images:
            return torch.zeros(0, len(class_names))
        return torch.stack([self._match(self._encode(image), class_names) for image in images])

    def score_black(self, class_names: Sequence[str]) -> Tensor:
        """Match logits of a black image, (len(class_names),), on the CPU."""
        return self._match(self._black, class_names)

    @cached_property
    def _black(self) -> ImageFeatures:
        return self._encode(np.zeros((*self.size, 3), np.uint8))

    def _encode(self, image: np.ndarray) -> ImageFeatures:
        return self.vlm.encode(normalise_pixels(to_pixels(image, self.size), self.vlm.mean, self.vlm.std))

    def _match(self, features: ImageFeatures, class_names: Sequence[str]) -> Tensor:
        for name in class_names:
            if name not in self._prompts:
                (self._prompts[name],) = build_prompts([name], MATCH_TEMPLATE, self.vlm.tokenize, self.vlm.max_tokens)
        prompts = [self._prompts[name] for name in class_names]
        return self.vlm.match(features, prompts)[:, 1].float().cpu()


def make_scorer(spec: str, vlm: VisionLanguageModel, *, size_px: int | None = None, device: str = "auto") -> Scorer:
    """A scorer from its name: `self` (the tuned model), `match:MODEL`, `clip`, `clip:ID[@REVISION]` or `clip:FOLDER`.

    size_px: side of the pictures that `self` and `match` see; None: 336, or the preset's size for `match:MODEL`.
    Raises ConfigError for any other name, ModelError when weights are missing.
    """
    kind, _, model = spec.partition(":")
    if kind == "self" and not model:
        return MatchScorer(vlm, size_px=size_px or 336)
    if kind == "clip":
        return ClipScorer.from_pretrained(model or CLIP_MODEL, device=device)
    if kind == "match" and model:
        from pnp_ovss.presets import get_preset
        from pnp_ovss.vlms.checkpoints.loading import load_vlm

        preset = get_preset(model)
        own_px = size_px or resolve(preset).size_px
        return MatchScorer(load_vlm(preset, device=device), size_px=own_px)
    raise ConfigError(f"unknown scorer '{spec}'; choose from self, clip, clip:ID, clip:FOLDER or match:MODEL")
