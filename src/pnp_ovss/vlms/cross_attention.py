"""What BLIP and its like share: one image's tokens, a text stream with cross-attention over them, a matching head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pnp_ovss.config import Gradient, Precision
from pnp_ovss.errors import ConfigError
from pnp_ovss.prompt import Prompt, Tokens
from pnp_ovss.vlms.base import (
    CLIP_MEAN,
    CLIP_STD,
    CrossAttention,
    Head,
    ImageFeatures,
    at_least_float32,
    evaluating,
    scatter_patches,
)
from pnp_ovss.vlms.encoders.text_stream import CrossModalStream, TextStream
from pnp_ovss.vlms.encoders.wordpiece import TextTokenizer, pad_prompts


@dataclass(frozen=True)
class Parts:
    """A model taken apart.

    text: token ids and one image's tokens to logits, attention and gradient. image_side: the modules that no text
    meets, or None where text and image share one transformer. patch_px: side of a patch. size_step_px: what input
    sides are multiples of (0: of patch_px). prefix_tokens: image tokens before the patches ([CLS]).
    """

    text: CrossModalStream
    image_side: nn.Module | None
    patch_px: int
    size_step_px: int = 0
    prefix_tokens: int = 1


class CrossAttentionVLM:
    """An adapter over such a model. A family says what is checked (`check`), what the parts are and `tokens_of`.

    model: the module with all weights; attention and matching leave it as it is.
    Raises ModelError for a model that would load silently and give meaningless maps, ConfigError for a precision that
    the family does not have.
    """

    name = ""
    mean: ClassVar[tuple[float, float, float]] = CLIP_MEAN
    std: ClassVar[tuple[float, float, float]] = CLIP_STD

    def __init__(
        self, model: Any, tokenizer: TextTokenizer, *, name: str | None = None, precision: Precision = "float32"
    ) -> None:
        self.name = name or self.name
        self.model: Any = model
        self.tokenizer = tokenizer
        self.check()
        parts = self.parts()
        self._set_precision(precision, parts.image_side)
        self.text = parts.text
        self.layers = parts.text.cross_layers
        self.heads = parts.text.heads
        self.max_tokens = parts.text.max_tokens
        self.patch_px = parts.patch_px
        self.size_step_px = parts.size_step_px or parts.patch_px
        self.prefix_tokens = parts.prefix_tokens

    def check(self) -> None:
        """Raise ModelError for a model of other heads, vocabulary or parts than the family's."""

    def parts(self) -> Parts:
        """The model taken apart."""
        raise NotImplementedError("a family's adapter defines parts()")

    def tokens_of(self, pixels: Tensor, visible: Tensor | None) -> Tensor:
        """(1, 3, S_h, S_w) normalised pixels to (states, prefix + N', D) tokens; `visible` (N,) bool removes the others.

        A `TextStreamVLM`'s takes photos (P, 3, S_h, S_w) and `visible` (P, N), too, and gives (P, prefix + N', D).
        """
        raise NotImplementedError("a family's adapter defines tokens_of()")

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.text.itm_head.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the part that reads the text."""
        return self.text.itm_head.weight.dtype

    def tokenize(self, text: str) -> Tokens:
        """Ids with special tokens and the character offsets of each."""
        return self.tokenizer(text)

    @torch.no_grad()
    def encode(self, pixels: Tensor, visible: Tensor | None = None) -> ImageFeatures:
        """(3, S_h, S_w) normalised pixels to the image's tokens, in the text part's precision."""
        grid = (pixels.shape[1] // self.patch_px, pixels.shape[2] // self.patch_px)
        with evaluating(self.model):
            tokens = self.tokens_of(pixels[None].to(self.device), visible)
        return ImageFeatures(tokens.to(self.dtype), grid, visible)

    def attend(
        self, image: ImageFeatures, prompt: Prompt, *, layers: Sequence[int], head: Head, gradient: Gradient
    ) -> tuple[CrossAttention, ...]:
        """Attention and gradient of these layers (from 1), (heads, T, P_h·P_w) each."""
        ids = torch.tensor([prompt.token_ids], device=self.device)
        mask = torch.ones_like(ids, dtype=torch.bool)
        with evaluating(self.model):
            logits, found = self.text.attend(image.tokens, ids, mask, layers=layers, head=head, gradient=gradient)
        return self._seen(0, image, prompt, logits, [found[layer] for layer in layers])

    def patch_tokens(self, image: ImageFeatures) -> Tensor:
        """(N', D) tokens of the patches; of several states' (BridgeTower's) the last."""
        return image.tokens[-1, self.prefix_tokens :]

    def match(self, image: ImageFeatures, prompts: Sequence[Prompt]) -> Tensor:
        """Matching logits (len(prompts), 2), float32; the image's keys and values are shared by all prompts."""
        ids, mask = pad_prompts([p.token_ids for p in prompts], self.tokenizer.pad)
        with evaluating(self.model):
            return at_least_float32(self.text.match(image.tokens, ids.to(self.device), mask.to(self.device)))

    def _seen(
        self,
        row: int,
        image: ImageFeatures,
        prompt: Prompt,
        logits: Tensor,
        found: Sequence[tuple[Tensor, Tensor | None]],
    ) -> tuple[CrossAttention, ...]:
        """One text's part of what its stream found, without its padding and the image's prefix."""
        length = len(prompt.token_ids)

        def own(values: Tensor) -> Tensor:
            return scatter_patches(values[row, :, :length, self.prefix_tokens :], image.visible)

        return tuple(
            CrossAttention(own(probs), None if grad is None else own(grad), image.grid, at_least_float32(logits[row]))
            for probs, grad in found
        )

    def _set_precision(self, precision: Precision, image_side: nn.Module | None) -> None:
        if precision == "bfloat16":
            self.model.bfloat16()
        elif precision == "bfloat16-vision" and image_side is None:
            raise ConfigError(f"{self.name} has one transformer for text and image; use precision float32 or bfloat16")
        elif precision == "bfloat16-vision" and image_side is not None:
            image_side.bfloat16()


class TextStreamVLM(CrossAttentionVLM):
    """An adapter whose text side is a `TextStream`: it takes many photos at once (`TakesPhotos`, `MatchesPhotos`)."""

    text: TextStream

    @torch.no_grad()
    def encode_photos(self, pixels: Tensor, visible: Tensor | None = None) -> list[ImageFeatures]:
        """(P, 3, S_h, S_w) normalised pixels to each photo's tokens; `visible` (P, N) bool has as many in every row."""
        grid = (pixels.shape[2] // self.patch_px, pixels.shape[3] // self.patch_px)
        with evaluating(self.model):
            tokens = self.tokens_of(pixels.to(self.device), visible).to(self.dtype)
        seen = [None] * len(pixels) if visible is None else visible
        return [ImageFeatures(own, grid, left) for own, left in zip(tokens.split(1), seen, strict=True)]

    def attend_photos(
        self,
        images: Sequence[ImageFeatures],
        prompts: Sequence[Prompt],
        *,
        layers: Sequence[int],
        head: Head,
        gradient: Gradient,
    ) -> list[tuple[CrossAttention, ...]]:
        """`attend` of each photo with its own prompt; shorter prompts are padded and masked.

        The objective is the sum over the photos, whose gradient by one photo's attention is that photo's own.
        """
        tokens = torch.cat([image.tokens for image in images])
        ids, mask = (x.to(self.device) for x in pad_prompts([p.token_ids for p in prompts], self.tokenizer.pad))
        with evaluating(self.model):
            logits, found = self.text.attend(tokens, ids, mask, layers=layers, head=head, gradient=gradient)
        each = [found[layer] for layer in layers]
        pairs = zip(images, prompts, strict=True)
        return [self._seen(row, image, prompt, logits, each) for row, (image, prompt) in enumerate(pairs)]

    def match_photos(self, tokens: Tensor, prompts: Sequence[Prompt]) -> Tensor:
        """Matching logits (P, len(prompts), 2), float32, of P photos' tokens (P, 1, N', D)."""
        texts = [torch.tensor([prompt.token_ids], device=self.device) for prompt in prompts]
        with evaluating(self.model):
            return at_least_float32(self.text.match_photos(tokens[:, 0], texts))
