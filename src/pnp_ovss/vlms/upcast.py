"""bfloat16 on a CPU without instructions for it: products in float32, rounded to bfloat16, as the instructions compute them.

torch's own kernels are many times slower there than float32 (docs/performance.md). Weights stay in bfloat16 and a part of one
layer's at a time is made float32, in the backward pass anew, so that memory stays that of bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from pnp_ovss.vlms.devices import has_bfloat16

CPU = torch.device("cpu")
PRODUCTS: frozenset[Callable[..., Any]] = frozenset(
    {
        *(torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm, torch.baddbmm, torch.einsum),
        *(torch.conv1d, torch.conv2d, torch.conv3d, F.scaled_dot_product_attention),
    }
)
"""Of two tensors of activations, or with few weights."""
AT_ONCE = 2**23
"""Weights that are float32 at one time: 32 MB."""


def products_of(model: nn.Module) -> AbstractContextManager[object]:
    """The block in which products of the model's bfloat16 weights are computed in float32, where the CPU has no others."""
    if has_bfloat16(CPU) or not any(p.dtype is torch.bfloat16 and p.device == CPU for p in model.parameters()):
        return nullcontext()
    return Float32Products()


class Float32Products(TorchFunctionMode):
    """Products of bfloat16 tensors are computed in float32 and rounded; a linear layer's weights get no gradient."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.linear and args[0].dtype is torch.bfloat16:
            return _Linear.apply(*_linear_arguments(*args, **kwargs))
        if func in PRODUCTS and any(_is_bfloat16(value) for value in args):
            named = {name: _float32(value) for name, value in kwargs.items()}
            return func(*map(_float32, args), **named).bfloat16()
        return func(*args, **kwargs)


class _Linear(torch.autograd.Function):
    """x W^T + b in float32. The bfloat16 weights are kept for the backward pass, not what was made of them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        whole = x.float()
        found = torch.cat([F.linear(whole, part.float()) for part in weight.split(_rows(weight))], dim=-1)
        return (found if bias is None else found + bias.float()).bfloat16()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        weight, rows = ctx.saved_tensors[0], _rows(ctx.saved_tensors[0])
        parts = zip(grads[0].float().split(rows, dim=-1), weight.split(rows), strict=True)
        return torch.stack([grad @ part.float() for grad, part in parts]).sum(0).bfloat16(), None, None


def _rows(weight: Tensor) -> int:
    """How many rows of (outputs, inputs) weights are made float32 together."""
    return max(1, AT_ONCE // weight.shape[1])


def _linear_arguments(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
    return x, weight, bias


def _is_bfloat16(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype is torch.bfloat16


def _float32(value: Any) -> Any:
    return value.float() if _is_bfloat16(value) else value
