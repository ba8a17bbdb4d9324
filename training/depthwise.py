"""Depthwise convolutions whose weights are fixed, with a cheap gradient of their input.

torch's own backward of a depthwise convolution costs ten times its forward in bfloat16 on a CPU; the gradient of the input alone
is another forward, with the kernel turned around.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class _Convolve(torch.autograd.Function):
    """(input, weight, bias, padding, dilation) → the convolution; only the input has a gradient."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        x, weight, bias, padding, dilation = given
        ctx.save_for_backward(weight)
        ctx.shape = padding, dilation
        return F.conv2d(x, weight, bias, 1, padding, dilation, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (weight,), (padding, dilation), (grad,) = ctx.saved_tensors, ctx.shape, grads
        turned = weight.flip(-1, -2).to(grad.dtype)
        return F.conv2d(grad, turned, None, 1, padding, dilation, len(weight)), None, None, None, None


class FixedDepthwise(nn.Conv2d):
    """A depthwise convolution of stride 1 that keeps the size, its weights taken from another and fixed."""

    def __init__(self, other: nn.Conv2d):
        shape = other.in_channels, other.out_channels, other.kernel_size
        super().__init__(*shape, padding=other.padding, dilation=other.dilation, groups=other.groups)
        same = all(
            2 * p == d * (k - 1) for p, d, k in zip(other.padding, other.dilation, other.kernel_size, strict=True)
        )
        if (
            other.stride != (1, 1)
            or other.groups != other.in_channels
            or other.in_channels != other.out_channels
            or not same
        ):
            raise ValueError(f"{other} is no depthwise convolution of stride 1 that keeps the size")
        self.weight, self.bias = other.weight.requires_grad_(False), other.bias.requires_grad_(False)

    def forward(self, input: Tensor) -> Tensor:
        return _Convolve.apply(input, self.weight, self.bias, self.padding, self.dilation)
