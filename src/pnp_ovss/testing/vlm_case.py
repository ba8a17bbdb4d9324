"""What the tests of an adapter start from: the adapter, random pixels, a prompt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar
from unittest import SkipTest

import torch
from torch import Tensor

from pnp_ovss.config import Gradient, Precision
from pnp_ovss.errors import ConfigError
from pnp_ovss.prompt import Prompt, build_prompt
from pnp_ovss.vlms.base import VisionLanguageModel, check_layer_and_head

TEMPLATE = "A picture of {classes}"
Plain = tuple[Tensor, Tensor, Tensor]


class VlmCase:
    """Inherit, define `make` and, where the model can be run plainly, `plain`.

    class_names: known to the model's vocabulary. steps: input sizes in multiples of `size_step_px`. precisions:
    which are supported besides float32. Equalities hold in float64, where rounding cannot hide a fault; tolerances
    are relative to the largest value.
    """

    class_names: ClassVar[tuple[str, ...]] = ("cat", "traffic light", "dog")
    steps: ClassVar[tuple[tuple[int, int], ...]] = ((2, 2), (3, 2), (2, 5))
    precisions: ClassVar[tuple[Precision, ...]] = ("bfloat16", "bfloat16-vision")
    exact_tolerance: ClassVar[float] = 1e-9
    float32_tolerance: ClassVar[float] = 1e-3
    """Sums of float32 depend on the processor by some 1e-5; a wrong layer, head or sign is off by more than 1e-1."""
    bfloat16_tolerance: ClassVar[float] = 0.15

    def make(self, precision: Precision = "float32") -> VisionLanguageModel:
        """A new adapter with small random weights, the same ones every time."""
        raise NotImplementedError("an adapter's contract test defines make()")

    def make_exact(self) -> VisionLanguageModel:
        """The same adapter in float64."""
        vlm = self.make()
        vlm.model.double()
        return vlm

    def plain(self, vlm: Any, pixels: Tensor, prompt: Prompt, layer: int) -> Plain:  # noqa: ARG002
        """Attention (heads, T, P_h·P_w) of the layer, its gradient of the match logit, and the logits (2,).

        From the unchanged model with the whole graph, by a hook on the attention and `torch.autograd.grad`.
        """
        raise SkipTest(f"{type(self).__name__} defines no plain()")

    def _pixels(self, vlm: VisionLanguageModel, steps: tuple[int, int] = (2, 2)) -> Tensor:
        size = (3, steps[0] * vlm.size_step_px, steps[1] * vlm.size_step_px)
        pixels = torch.randn(size, generator=torch.Generator().manual_seed(0))
        exact = any(parameter.dtype == torch.float64 for parameter in vlm.model.parameters())
        return pixels.double() if exact else pixels

    def _prompt(self, vlm: VisionLanguageModel, *names: str) -> Prompt:
        return build_prompt(names or self.class_names, TEMPLATE, vlm.tokenize)

    def _attend(self, vlm: VisionLanguageModel, gradient: Gradient = "match_logit", **options: Any) -> Any:
        image = vlm.encode(self._pixels(vlm))
        asked = {"layers": vlm.layers, "head": "mean", **options}
        return vlm.attend(image, self._prompt(vlm), gradient=gradient, **asked)


def relative_error(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, relative to the largest wanted value."""
    assert found.shape == wanted.shape, f"{tuple(found.shape)} instead of {tuple(wanted.shape)}"
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-12))


def tensors_of(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from tensors_of(entry)
    elif isinstance(value, dict):
        yield from tensors_of(list(value.values()))


def refusal(vlm: VisionLanguageModel, layer: int, head: int) -> str | None:
    """The message with which a layer and head are refused, None where they are accepted."""
    try:
        check_layer_and_head(vlm, layer, head)
    except ConfigError as error:
        return str(error)
    return None
