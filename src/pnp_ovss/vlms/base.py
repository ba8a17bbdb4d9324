"""What every vision-language model adapter gives, and the few things they share.

An adapter is any object with the attributes and methods of `VisionLanguageModel`; nothing has to be inherited or
registered. `pnp_ovss.testing.vlm_contract` checks one.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

import pnp_ovss.vlms.forks  # noqa: F401  # registers itself
from pnp_ovss.config import Gradient
from pnp_ovss.errors import ConfigError
from pnp_ovss.prompt import Prompt, Tokens
from pnp_ovss.vlms.upcast import products_of

Head = int | Literal["mean"]
Found = dict[int, tuple[Tensor, Tensor | None]]
"""Per layer (from 1): probabilities (heads, T, N), of a text stream (B, heads, T, N), and their gradient or None."""

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's normalisation of pixels in [0, 1] (Radford et al. 2021), which most of the models here took over."""


@dataclass(frozen=True)
class ImageFeatures:
    """One encoded image.

    tokens: whatever the adapter's `attend` needs (for BLIP (1, 1 + N', D)). grid: (P_h, P_w) patches.
    visible: (P_h·P_w,) bool, which patches are in the sequence (all, but for `remove_tokens`), or None = all.
    """

    tokens: Any
    grid: tuple[int, int]
    visible: Tensor | None = None


@dataclass(frozen=True)
class CrossAttention:
    """Attention of one layer for one image and prompt.

    probs: (heads, T, P_h·P_w) softmax probabilities, text = query, image = key, [CLS] column dropped; heads is 1
    for a single head. grad: the same shape, ∂objective/∂probs, or None for `gradient = "none"`. Patches that left
    the sequence have 0 in both. match_logits: (2,), index 1 = match.
    """

    probs: Tensor
    grad: Tensor | None
    grid: tuple[int, int]
    match_logits: Tensor


@runtime_checkable
class VisionLanguageModel(Protocol):
    """One VLM with text-to-image cross-attention and an image-text matching head.

    layers: the layers (from 1) that have cross-attention. heads: heads per layer. patch_px: side of a patch;
    size_step_px: input sides must be multiples of it. max_tokens: the text encoder's limit.
    mean, std: normalisation per channel of pixels in [0, 1].
    """

    name: str
    layers: tuple[int, ...]
    heads: int
    patch_px: int
    size_step_px: int
    max_tokens: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        ...

    @property
    def model(self) -> nn.Module:
        """The module with all weights."""
        ...

    def tokenize(self, text: str) -> Tokens:
        """Ids with special tokens and the character offsets of each."""
        ...

    def encode(self, pixels: Tensor, visible: Tensor | None = None) -> ImageFeatures:
        """Encode (3, S_h, S_w) normalised pixels, without a graph; `visible` (N,) bool removes the other patches."""
        ...

    def attend(
        self, image: ImageFeatures, prompt: Prompt, *, layers: Sequence[int], head: Head, gradient: Gradient
    ) -> tuple[CrossAttention, ...]:
        """Attention and gradient of these layers (from 1), in their order."""
        ...

    def patch_tokens(self, image: ImageFeatures) -> Tensor:
        """(N', D) tokens of the patches in the sequence, as the cross-attention reads them, without a copy."""
        ...

    def match(self, image: ImageFeatures, prompts: Sequence[Prompt]) -> Tensor:
        """Image-text matching logits (len(prompts), 2), column 1 = match, without a graph."""
        ...


@runtime_checkable
class MatchesPhotos(Protocol):
    """An adapter that can match prompts with many photos at once, which a bank of names is several times faster by."""

    def match_photos(self, tokens: Tensor, prompts: Sequence[Prompt]) -> Tensor:
        """Matching logits (P, len(prompts), 2) of P photos' `ImageFeatures.tokens` (P, ...), column 1 = match, without a graph."""
        ...


@runtime_checkable
class TakesPhotos(Protocol):
    """An adapter that can encode photos of one size, and look at them, at once, which a GPU is better filled by."""

    def encode_photos(self, pixels: Tensor, visible: Tensor | None = None) -> list[ImageFeatures]:
        """`encode` of each of (P, 3, S_h, S_w); `visible` (P, N) bool has as many in every row."""
        ...

    def attend_photos(
        self,
        images: Sequence[ImageFeatures],
        prompts: Sequence[Prompt],
        *,
        layers: Sequence[int],
        head: Head,
        gradient: Gradient,
    ) -> list[tuple[CrossAttention, ...]]:
        """`attend` of each photo with its own prompt; the photos have one grid and as many patches in sight."""
        ...


def check_layer_and_head(vlm: VisionLanguageModel, layer: int, head: Head) -> None:
    """Raise ConfigError when the model has no such cross-attention layer or head."""
    if layer not in vlm.layers:
        raise ConfigError(f"layer {layer} has no cross-attention in {vlm.name}; choose from {_ranges(vlm.layers)}")
    if head != "mean" and not 1 <= head <= vlm.heads:
        raise ConfigError(f"head {head} does not exist in {vlm.name}; choose from 1-{vlm.heads} or 'mean'")


def _ranges(layers: Sequence[int]) -> str:
    consecutive = tuple(layers) == tuple(range(layers[0], layers[-1] + 1))
    return f"{layers[0]}-{layers[-1]}" if consecutive and len(layers) > 1 else ", ".join(map(str, layers))


def match_objective(logits: Tensor, gradient: Gradient) -> Tensor:
    """The scalar that is differentiated by the attention (§3.1).

    logits: (B, 2), column 1 = "match". `match_logit`: its sum. `margin`: match − no match. `paper-literal`: the
    ITM loss −log softmax(logits)[match] of Eq. 1 as printed, whose positive gradient marks what LOWERS the match.
    """
    if gradient == "match_logit":
        return logits[:, 1].sum()
    if gradient == "margin":
        return (logits[:, 1] - logits[:, 0]).sum()
    return -logits.log_softmax(dim=1)[:, 1].sum()


def objective_grads(logits: Tensor, gradient: Gradient, leaves: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """∂`match_objective`/∂leaf of each leaf; None for `gradient = "none"`."""
    if gradient == "none":
        return [None] * len(leaves)
    with torch.enable_grad():
        return torch.autograd.grad(match_objective(logits, gradient), leaves)


def at_least_float32(values: Tensor) -> Tensor:
    """bfloat16 as float32; float32 and float64 as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def rounded_half(values: Tensor, mantissa_bits: int) -> Tensor:
    """float16, on the CPU, rounded to fewer bits of mantissa than its 10: zeros at the end of every number compress."""
    dropped = 10 - mantissa_bits
    bits = values.half().cpu().contiguous().view(torch.int16)
    return ((bits + (1 << (dropped - 1))) & ~((1 << dropped) - 1)).view(torch.float16)


def head_index(head: Head) -> slice:
    """The one place where a head counted from 1 becomes an index (a slice, so that the axis stays)."""
    return slice(None) if head == "mean" else slice(head - 1, head)


def layer_index(layer: int) -> int:
    """The one place where a layer counted from 1 becomes an index."""
    return layer - 1


def scatter_patches(values: Tensor, visible: Tensor | None) -> Tensor:
    """(..., N') of the patches in the sequence back to (..., N), zeros elsewhere."""
    if visible is None:
        return values
    full = values.new_zeros((*values.shape[:-1], visible.numel()))
    full[..., visible.nonzero().flatten()] = values
    return full


@contextmanager
def evaluating(model: nn.Module) -> Generator[None]:
    """The model in evaluation mode inside the block, every module's own flag restored after it.

    Its bfloat16 products are computed in float32 where the CPU has no instructions for them (`upcast`).
    """
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        with products_of(model):
            yield
    finally:
        for module in training:
            module.training = True
