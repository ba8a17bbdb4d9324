"""The fixed depthwise convolutions of training: torch's own numbers, forward and backward."""

import pytest
import torch
from torch import nn

from tests.near import equal


@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (3, 2), (5, 2)])
def test_output_and_gradient_are_those_of_torch(training, kernel, dilation):
    torch.manual_seed(0)
    own = (
        nn.Conv2d(6, 6, kernel, padding=dilation * (kernel // 2), dilation=dilation, groups=6)
        .requires_grad_(False)
        .double()
    )
    fixed = training("depthwise").FixedDepthwise(own)
    x, grad = torch.randn(2, 6, 9, 11).double(), torch.randn(2, 6, 9, 11).double()
    leaves = [x.clone().requires_grad_() for _ in range(2)]

    outputs = [layer(leaf) for layer, leaf in zip((own, fixed), leaves, strict=True)]
    found = [torch.autograd.grad(y, leaf, grad)[0] for y, leaf in zip(outputs, leaves, strict=True)]

    equal(outputs[1], outputs[0])
    equal(found[1], found[0])
    assert list(fixed.state_dict()) == list(own.state_dict())


def test_the_gradient_is_bfloat16_under_autocast(training):
    own = nn.Conv2d(6, 6, 3, padding=1, groups=6).requires_grad_(False)
    fixed = training("depthwise").FixedDepthwise(own)
    x = torch.randn(2, 6, 8, 8).bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = fixed(x)
    y.sum().backward()

    expected = nn.functional.conv_transpose2d(torch.ones(2, 6, 8, 8), own.weight, padding=1, groups=6)
    assert x.grad.dtype == torch.bfloat16
    torch.testing.assert_close(x.grad.float(), expected, atol=0.05, rtol=0.02)


def test_other_convolutions_are_refused(training):
    with pytest.raises(ValueError, match="no depthwise convolution"):
        training("depthwise").FixedDepthwise(nn.Conv2d(6, 6, 3, padding=1, stride=2, groups=6))
    with pytest.raises(ValueError, match="no depthwise convolution"):
        training("depthwise").FixedDepthwise(nn.Conv2d(6, 6, 3, padding=1))
