"""GroupViT (Xu et al., CVPR 2022) through transformers: patches form groups, texts name the groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pnp_ovss.clip import load_with_tokenizer
from pnp_ovss.evaluation.systems import Answer, Query
from pnp_ovss.extras import need
from pnp_ovss.images import normalise_pixels, to_pixels
from pnp_ovss.provenance import fingerprint
from pnp_ovss.vlms.base import CLIP_MEAN, CLIP_STD, evaluating

if TYPE_CHECKING:
    from transformers import GroupViTModel, PreTrainedTokenizerBase

MODEL = "nvidia/groupvit-gcc-yfcc"
TEMPLATE = "a photo of a {}."
BACKGROUND_BELOW = 0.95
"""Pixels whose best class is less probable are background: the authors' published setting for VOC and COCO."""


class GroupViT:
    """Labels from GroupViT's segmentation logits at its native input size.

    background: whether label 0 competes, by the threshold on the softmax over classes.
    """

    def __init__(
        self, model: GroupViTModel, tokenizer: PreTrainedTokenizerBase, *, background: bool, name: str = MODEL
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.background = background
        self.name = name
        self.size_px = int(model.config.vision_config.image_size)

    @classmethod
    def from_spec(cls, model: str, *, background: bool, device: str = "auto") -> GroupViT:
        """From a hub id or a folder, "" = MODEL. Raises ModelError when the weights cannot be found or do not fit."""
        need("transformers", "GroupViT", "hub")
        from transformers import GroupViTModel

        loaded, tokenizer, name = load_with_tokenizer(model or MODEL, "groupvit", GroupViTModel, device)
        return cls(loaded, tokenizer, background=background, name=name)

    def settings(self) -> dict[str, Any]:
        """What identifies the numbers."""
        below = BACKGROUND_BELOW if self.background else None
        own = {"weights": fingerprint(self.model), "background_below": below}
        return {"model": f"GroupViT {self.name}", "policy": "all", "size": self.size_px, **own}

    def answer(self, query: Query) -> dict[str, Answer]:
        """The likeliest class of each pixel, or background."""
        shares = self.probabilities(query.image, [group[0] for group in query.classes])
        shares = F.interpolate(shares[None], size=query.image.shape[:2], mode="bilinear", align_corners=False)[0]
        best, index = shares.max(dim=0)
        labels = index + 1
        if self.background:
            labels = torch.where(best < BACKGROUND_BELOW, torch.zeros_like(labels), labels)
        return {"": Answer(labels.cpu().numpy())}

    @torch.no_grad()
    def probabilities(self, image: np.ndarray, names: list[str]) -> Tensor:
        """(K, S, S): softmax over the classes of each pixel's groups' likeness to the texts, at the model's scale."""
        size = (self.size_px, self.size_px)
        pixels = normalise_pixels(to_pixels(image, size), CLIP_MEAN, CLIP_STD)[None].to(self.model.device)
        ids = self._token_ids(names)
        with evaluating(self.model):
            output = self.model(pixel_values=pixels, **ids, output_segmentation=True)
        scale = self.model.logit_scale.exp()  # transformers multiplies the groups' logits by it twice
        return (output.segmentation_logits[0] / scale).softmax(dim=0)

    def _token_ids(self, names: list[str]) -> dict[str, Tensor]:
        limit = int(self.model.config.text_config.max_position_embeddings)
        texts = [TEMPLATE.format(name) for name in names]
        rows = [self.tokenizer(text, truncation=True, max_length=limit).input_ids for text in texts]
        longest, end = max(map(len, rows)), rows[0][-1]
        padded = torch.tensor([row + [end] * (longest - len(row)) for row in rows], device=self.model.device)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=self.model.device)
        return {"input_ids": padded, "attention_mask": mask}
