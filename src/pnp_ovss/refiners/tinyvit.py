"""The image encoder of MobileSAM: TinyViT-5M at 1024 px, written anew, under the weights' own names.

Sources: Wu et al., "TinyViT: Fast Pretraining Distillation for Small Vision Transformers", ECCV 2022; Zhang et al., "Faster
Segment Anything: Towards Lightweight SAM for Mobile Applications", 2023: the last merging keeps the resolution and a neck of
two convolutions gives SAM's 256 channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS, DEPTHS, HEADS, WINDOWS = (64, 128, 160, 320), (2, 2, 6, 2), (2, 4, 5, 10), (7, 7, 14, 7)
NECK = 256


class ConvNorm(nn.Module):
    """A convolution without bias and its batch normalisation."""

    def __init__(self, inside: int, outside: int, side: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(inside, outside, side, stride, side // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outside)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inside, H, W) to (B, outside, H / stride, W / stride)."""
        return self.bn(self.c(x))


class Bottleneck(nn.Module):
    """Wide, by depth, narrow: TinyViT's MBConv (with its shortcut) and its patch merging (without)."""

    def __init__(self, inside: int, wide: int, outside: int, stride: int = 1, shortcut: bool = False) -> None:
        super().__init__()
        self.conv1 = ConvNorm(inside, wide, 1)
        self.conv2 = ConvNorm(wide, wide, 3, stride, groups=wide)
        self.conv3 = ConvNorm(wide, outside, 1)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(B, inside, H, W) to (B, outside, H / stride, W / stride)."""
        narrow = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))
        return F.gelu(x + narrow) if self.shortcut else narrow


class WindowAttention(nn.Module):
    """Self-attention within a window of n x n tokens, with a bias for each distance."""

    offsets: Tensor

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        row, column = torch.arange(window * window) // window, torch.arange(window * window) % window
        offsets = (row[:, None] - row).abs() * window + (column[:, None] - column).abs()
        self.register_buffer("offsets", offsets, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, n · n, width) to the same."""
        batch, tokens, width = x.shape
        q, k, v = self.qkv(self.norm(x)).view(batch, tokens, self.heads, -1).transpose(1, 2).chunk(3, dim=-1)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self.attention_biases[:, self.offsets])
        return self.proj(out.transpose(1, 2).reshape(batch, tokens, width))


class FeedForward(nn.Module):
    """TinyViT's feed-forward part, its normalisation first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to the same."""
        return self.fc2(F.gelu(self.fc1(self.norm(x))))


class Block(nn.Module):
    """Attention in windows, a convolution by depth, a feed-forward part."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = WindowAttention(width, heads, window)
        self.local_conv = ConvNorm(width, width, 3, groups=width)
        self.mlp = FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) to the same."""
        x = self.local_conv(x + self._attend(x))
        return x + self.mlp(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def _attend(self, x: Tensor) -> Tensor:
        batch, width, height, across = x.shape
        n = self.window
        padded = F.pad(x, (0, -across % n, 0, -height % n))
        rows, columns = padded.shape[2] // n, padded.shape[3] // n
        windows = padded.view(batch, width, rows, n, columns, n).permute(0, 2, 4, 3, 5, 1).reshape(-1, n * n, width)
        seen = self.attn(windows).view(batch, rows, columns, n, n, width).permute(0, 5, 1, 3, 2, 4)
        return seen.reshape(padded.shape)[:, :, :height, :across]


class Stage(nn.Module):
    """Blocks of one width and, but for the last, the merging into the next."""

    def __init__(self, index: int) -> None:
        super().__init__()
        width = WIDTHS[index]
        self.blocks = nn.Sequential(*(self._block(index) for _ in range(DEPTHS[index])))
        if index + 1 < len(WIDTHS):
            wider = WIDTHS[index + 1]
            self.downsample = Bottleneck(width, wider, wider, stride=1 if index == 2 else 2)
        else:
            self.downsample = nn.Identity()

    @staticmethod
    def _block(index: int) -> nn.Module:
        width = WIDTHS[index]
        if index == 0:
            return Bottleneck(width, 4 * width, width, shortcut=True)
        return Block(width, HEADS[index], WINDOWS[index])

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) to the next stage's."""
        return self.downsample(self.blocks(x))


class PatchEmbedding(nn.Module):
    """Two strided convolutions."""

    def __init__(self) -> None:
        super().__init__()
        narrow = WIDTHS[0] // 2
        self.seq = nn.Sequential(ConvNorm(3, narrow, 3, 2), nn.GELU(), ConvNorm(narrow, WIDTHS[0], 3, 2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 64, H / 4, W / 4)."""
        return self.seq(x)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class TinyViT(nn.Module):
    """MobileSAM's encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding()
        self.layers = nn.Sequential(*(Stage(index) for index in range(len(WIDTHS))))
        self.neck = nn.Sequential(
            nn.Conv2d(WIDTHS[-1], NECK, 1, bias=False),
            ChannelNorm(NECK),
            nn.Conv2d(NECK, NECK, 3, padding=1, bias=False),
            ChannelNorm(NECK),
        )

    def forward(self, pixels: Tensor) -> tuple[Tensor]:
        """Normalised pixels (B, 3, 1024, 1024) to features (B, 256, 64, 64), in a tuple like transformers' encoders."""
        return (self.neck(self.layers(self.patch_embed(pixels))),)
