"""What a model looks like from outside, and what autograd keeps: for tests that nothing was changed or kept."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def state_of(model: nn.Module) -> dict[str, Any]:
    """Training flag and hooks of every module; sum, gradient, dtype and requires_grad of every parameter."""
    found: dict[str, Any] = {}
    for name, module in model.named_modules():
        hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
        found[f"module {name}"] = (module.training, tuple(len(h) for h in hooks))
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        total = float(value.detach().double().sum())
        found[f"tensor {name}"] = (total, value.grad is None, value.dtype, value.requires_grad, tuple(value.shape))
    return found


@contextmanager
def saved_elements() -> Generator[list[int]]:
    """How many numbers each tensor has that autograd keeps for a backward pass inside the block."""
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield kept
