"""f of Eq. 4-5: how alike are a picture and a class name? CLIP as in the paper, or any of our VLMs, itself included.

A scorer is any object with the attributes and methods of `Scorer`; nothing has to be inherited or registered.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from pnp_ovss.errors import ConfigError, ModelError
from pnp_ovss.images import input_size, normalise_pixels, to_pixels
from pnp_ovss.presets import ModelPreset, resolve_config
from pnp_ovss.prompt import MATCH_TEMPLATE, Prompt, build_prompts
from pnp_ovss.vlms.base import ImageFeatures, VisionLanguageModel, evaluating

if TYPE_CHECKING:
    from transformers import CLIPModel, PreTrainedTokenizerBase

CLIP_MODEL = "openai/clip-vit-large-patch14-336"
"""The paper's reward model, CLIP ViT-L/14 at 336 px (§4.1)."""
CLIP_TEMPERATURE = 0.01
"""CLIP's own (Radford et al. 2021, §2.5: logits scaled by at most 100, where training ends)."""
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
IMAGES_PER_BATCH = 16


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
    """Cosine of CLIP's image and text embeddings / 0.01; photos are squashed to a square, names are bare.

    model: a `CLIPModel` of transformers. tokenizer: its tokenizer. Text features are kept for every name seen.
    """

    def __init__(self, model: CLIPModel, tokenizer: PreTrainedTokenizerBase, *, name: str = CLIP_MODEL) -> None:
        self.name = f"clip:{name}"
        self.model = model
        self.tokenizer = tokenizer
        self.size_px: int = model.vision_model.embeddings.image_size
        self._texts: dict[str, Tensor] = {}
        if torch.equal(self._token_ids("cat"), self._token_ids("dog")):
            raise ModelError(
                f"{name}: the tokenizer gives different names the same ids; copy its files beside the weights"
            )

    @classmethod
    def from_pretrained(cls, model: str | Path = CLIP_MODEL, *, device: str = "auto") -> ClipScorer:
        """From a folder of transformers' layout or a hub id, `ID` or `ID@REVISION`; the local cache is asked first.

        Raises ModelError when the weights cannot be found, with where they were looked for.
        """
        from pnp_ovss.vlms.checkpoints.hub import locate
        from pnp_ovss.vlms.checkpoints.loading import pick_device

        path = Path(model)
        hub_id, _, revision = str(model).partition("@")
        if path.is_dir():
            source = ModelPreset(name=path.name, family="clip", path=str(path))
        else:
            source = ModelPreset(name=str(model), family="clip", hub_id=hub_id, revision=revision or None)
        folder = locate(source)
        clip = _load_clip(folder).to(pick_device(device))
        return cls(clip, _load_tokenizer(folder), name=source.name)

    def score(self, images: Sequence[np.ndarray], class_names: Sequence[str]) -> Tensor:
        """Cosine / 0.01, (len(images), len(class_names)), in [-100, 100], on the CPU."""
        texts = self._text_features(class_names)
        batches = [images[i : i + IMAGES_PER_BATCH] for i in range(0, len(images), IMAGES_PER_BATCH)]
        found = [self._image_features(batch) @ texts.T / CLIP_TEMPERATURE for batch in batches]
        return torch.cat(found).cpu() if found else torch.zeros(0, len(class_names))

    def score_black(self, class_names: Sequence[str]) -> Tensor:
        """Cosine / 0.01 of a black image, (len(class_names),), on the CPU."""
        return (self._black @ self._text_features(class_names).T / CLIP_TEMPERATURE)[0].cpu()

    @cached_property
    def _black(self) -> Tensor:
        return self._image_features([np.zeros((self.size_px, self.size_px, 3), np.uint8)])

    @torch.no_grad()
    def _image_features(self, images: Sequence[np.ndarray]) -> Tensor:
        """Unit vectors (len(images), D)."""
        size = (self.size_px, self.size_px)
        pixels = torch.stack([normalise_pixels(to_pixels(image, size), CLIP_MEAN, CLIP_STD) for image in images])
        with evaluating(self.model):
            pooled = self.model.vision_model(pixel_values=pixels.to(self.model.device)).pooler_output
        return torch.nn.functional.normalize(self.model.visual_projection(pooled).float(), dim=1)

    @torch.no_grad()
    def _text_features(self, class_names: Sequence[str]) -> Tensor:
        """Unit vectors (len(class_names), D); each name alone, so that no padding is involved."""
        for name in class_names:
            if name not in self._texts:
                with evaluating(self.model):
                    pooled = self.model.text_model(input_ids=self._token_ids(name)).pooler_output
                vector = self.model.text_projection(pooled).float()
                self._texts[name] = torch.nn.functional.normalize(vector, dim=1)[0]
        return torch.stack([self._texts[name] for name in class_names])

    def _token_ids(self, name: str) -> Tensor:
        limit = self.model.config.text_config.max_position_embeddings
        ids = self.tokenizer(name, truncation=True, max_length=limit).input_ids
        return torch.tensor([ids], device=self.model.device)


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
        from pnp_ovss.vlms.checkpoints.loading import find_preset, load_vlm

        preset = find_preset(model)
        own_px = size_px or resolve_config(preset).size_px
        return MatchScorer(load_vlm(preset, device=device), size_px=own_px)
    raise ConfigError(f"unknown scorer '{spec}'; choose from self, clip, clip:ID, clip:FOLDER or match:MODEL")


def _load_clip(folder: Path) -> CLIPModel:
    from transformers import CLIPModel

    loaded: Any = CLIPModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True)
    model, info = loaded
    missing = sorted(key for key in info["missing_keys"] if "position_ids" not in key)
    if missing:
        raise ModelError(f"{folder}: {len(missing)} weights are missing ({missing[0]}, ...); not a CLIP checkpoint")
    return model.eval().requires_grad_(False)


def _load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    from transformers import CLIPTokenizer

    names = {path.name for path in folder.iterdir()}
    if "tokenizer.json" not in names and not {"vocab.json", "merges.txt"} <= names:
        raise ModelError(
            f"{folder}: neither tokenizer.json nor vocab.json and merges.txt; copy them beside the weights"
        )
    return CLIPTokenizer.from_pretrained(folder)
