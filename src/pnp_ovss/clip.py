"""CLIP (Radford et al. 2021), once: checked loading, and images and texts as unit vectors of its joint space.

The class policy `clip`, the paper's reward and the baselines MaskCLIP and ReCo all ask this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from pnp_ovss.checkpoint import read_config, refusing
from pnp_ovss.errors import ModelError
from pnp_ovss.extras import need
from pnp_ovss.images import normalise_pixels, to_pixels
from pnp_ovss.vlms.base import CLIP_MEAN, CLIP_STD, evaluating
from pnp_ovss.vlms.checkpoints.hub import checkpoint_source, locate
from pnp_ovss.vlms.checkpoints.strict import load_clip_tokenizer, load_pretrained
from pnp_ovss.vlms.devices import pick_device

CLIP_MODEL = "openai/clip-vit-large-patch14-336"
"""The paper's reward model, CLIP ViT-L/14 at 336 px (§4.1)."""
CLIP_TEMPERATURE = 0.01
"""CLIP's own (Radford et al. 2021, §2.5: logits scaled by at most 100, where training ends)."""
IMAGES_PER_BATCH = 16


def load_with_tokenizer(model: str | Path, family: str, model_class: Any, device: str) -> tuple[Any, Any, str]:
    """A model of transformers' class on its device, CLIP's tokenizer from beside it, and its name. Raises ModelError."""
    source = checkpoint_source(model, family)
    folder = locate(source)
    values = read_config(folder, family)
    with refusing(folder):
        loaded = load_pretrained(model_class, folder, model_class.config_class.from_dict(values))
    return loaded.to(pick_device(device)), load_clip_tokenizer(folder), source.name


class Clip:
    """A `CLIPModel` of transformers and its tokenizer. Photos are squashed to a square; each text's vector is kept.

    Raises ModelError for a tokenizer that gives different names the same ids.
    """

    def __init__(self, model: Any, tokenizer: Any, *, name: str = CLIP_MODEL) -> None:
        self.name = name
        self.model = model
        self.tokenizer = tokenizer
        self.size_px = int(model.vision_model.embeddings.image_size)
        self._texts: dict[str, Tensor] = {}
        if torch.equal(self.token_ids("cat"), self.token_ids("dog")):
            raise ModelError(
                f"{name}: the tokenizer gives different names the same ids; copy its files beside the weights"
            )

    @classmethod
    def from_pretrained(cls, model: str | Path = CLIP_MODEL, *, device: str = "auto") -> Clip:
        """From a folder of transformers' layout or a hub id, `ID` or `ID@REVISION`; the local cache is asked first.

        Raises ModelError when the weights cannot be found, with where they were looked for, or do not fit.
        """
        need("transformers", "a CLIP model", "hub")
        from transformers import CLIPModel

        loaded, tokenizer, name = load_with_tokenizer(model, "clip", CLIPModel, device)
        return cls(loaded, tokenizer, name=name)

    def score(self, images: Sequence[np.ndarray], class_names: Sequence[str]) -> Tensor:
        """Cosine / 0.01, (len(images), len(class_names)), in [-100, 100], on the CPU; images are (H, W, 3) uint8."""
        vectors = self.texts(class_names)
        batches = [images[i : i + IMAGES_PER_BATCH] for i in range(0, len(images), IMAGES_PER_BATCH)]
        found = [self.images(batch) @ vectors.T / CLIP_TEMPERATURE for batch in batches]
        return torch.cat(found).cpu() if found else torch.zeros(0, len(class_names))

    @torch.no_grad()
    def images(self, images: Sequence[np.ndarray]) -> Tensor:
        """Unit vectors (len(images), D) float32."""
        with evaluating(self.model):
            pooled = self.model.vision_model(pixel_values=self.pixels(images, self.size_px)).pooler_output
        return self.joint(pooled)

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors (len(texts), D) float32; each text alone, so that no padding is involved."""
        for text in texts:
            if text not in self._texts:
                with evaluating(self.model):
                    pooled = self.model.text_model(input_ids=self.token_ids(text)).pooler_output
                self._texts[text] = normalize(self.model.text_projection(pooled).float(), dim=1)[0]
        return torch.stack([self._texts[text] for text in texts])

    def joint(self, states: Tensor) -> Tensor:
        """The vision tower's normed states (n, D_v) as unit vectors (n, D) of the joint space."""
        return normalize(self.model.visual_projection(states).float(), dim=1)

    def pixels(self, images: Sequence[np.ndarray], side: int) -> Tensor:
        """(n, 3, side, side) normalised, on the model's device."""
        pixels = [normalise_pixels(to_pixels(image, (side, side)), CLIP_MEAN, CLIP_STD) for image in images]
        return torch.stack(pixels).to(self.model.device)

    def token_ids(self, text: str) -> Tensor:
        """(1, T) with start and end, cut at the model's limit."""
        limit = self.model.config.text_config.max_position_embeddings
        ids = self.tokenizer(text, truncation=True, max_length=limit).input_ids
        return torch.tensor([ids], device=self.model.device)
