"""The training losses: matching, word-patch evidence pooled over the image, and words in the bag."""

import math

import torch
from batches import Batch, name_owners
from forward import SCALE, TextStates, first_layer_cams, read_texts
from torch import Tensor, nn
from torch.nn import functional as F

from pnp_ovss.vlms.encoders.pocket_model import PocketModel

CUT, SOFTNESS = 0.2, 0.05
"""Where GradCAM over its peak is cut, and how softly, in the overlap that stage "cover" raises."""


class Auxiliary(nn.Module):
    """Heads that only training needs: offsets of the evidence, a word head on the last states."""

    def __init__(self, width: int):
        super().__init__()
        self.offset = nn.Parameter(torch.tensor(0.0))
        self.dense_offset = nn.Parameter(torch.tensor(0.0))
        self.word = nn.Linear(width, 1)


def pooled_evidence(maps: Tensor) -> Tensor:
    """Soft maximum over the patches of each name's evidence (B, M, N) → (B, M)."""
    return maps.logsumexp(-1) - math.log(maps.shape[-1])


def _names_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Binary cross-entropy over the names."""
    loss = F.binary_cross_entropy_with_logits(logits.float(), batch.there.clamp(min=0), reduction="none")
    return (loss * batch.weight).sum() / batch.weight.sum()


def dice(said: Tensor, target: Tensor) -> Tensor:
    """Soft Dice overlap over the last dimension, of values in [0, 1]."""
    return (2 * (said * target).sum(-1) + 1) / (said.sum(-1) + target.sum(-1) + 1)


def dense_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy of every patch and, for what is there, one minus the soft Dice overlap; logits (B, M, N)."""
    target = batch.masks.flatten(2)
    patches = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(-1)
    loss = patches + torch.where(batch.there > 0, 1 - dice(logits.sigmoid(), target), 0)
    weight = batch.weight * batch.masked
    return (loss * weight).sum() / weight.sum().clamp(min=1)


def absent_loss(cams: Tensor, batch: Batch) -> Tensor:
    """−log of the share of a list's GradCAM that lies on the names that are there, of lists with both kinds; cams (B, M, N)."""
    owners, mass = name_owners(batch) * (batch.weight > 0)[:, None], cams.sum(-1)[:, None]
    there, absent = owners * (batch.there > 0)[:, None], owners * (batch.there == 0)[:, None]
    both = (there.sum(-1) > 0) & (absent.sum(-1) > 0)
    share = (there * mass).sum(-1) / ((there + absent) * mass).sum(-1).clamp(min=1e-8)
    return -(share.clamp(min=1e-4).log() * both).sum() / both.sum().clamp(min=1)


def cover_loss(cams: Tensor, batch: Batch) -> Tensor:
    """One minus the soft Dice overlap of what is there with its GradCAM (B, M, N) beyond a fifth of the peak."""
    peak = cams.amax(-1, keepdim=True).clamp(min=1e-8)
    said, target = ((cams / peak - CUT) / SOFTNESS).sigmoid(), batch.masks.flatten(2)
    usable = batch.weight * batch.masked * (batch.there > 0) * (target.sum(-1) > 1)
    return ((1 - dice(said, target)) * usable).sum() / usable.sum().clamp(min=1)


def cam_loss(cams: Tensor, batch: Batch) -> Tensor:
    """Divergence between the GradCAM (B, M, N) of what is there and its target, each as shares of its sum."""
    said = cams / cams.sum(-1, keepdim=True).clamp(min=1e-8)
    masks = batch.masks.flatten(2)
    target = masks / masks.sum(-1, keepdim=True).clamp(min=1e-8)
    usable = batch.masked & (batch.there > 0) & (masks.sum(-1) > 1)
    divergence = (target * ((target + 1e-6).log() - (said + 1e-6).log())).sum(-1)
    return (divergence * batch.weight * usable).sum() / (batch.weight * usable).sum().clamp(min=1)


def losses(
    model: PocketModel,
    auxiliary: Auxiliary,
    batch: Batch,
    *,
    scale: float = SCALE,
    cams: bool = False,
    cover: float = 0.0,
) -> dict[str, Tensor]:
    """The losses and the accuracy on single names; evidence = `scale` x word-patch score."""
    tokens = model.image_encoder.tokens(batch.middle)
    packed = (batch.ids, batch.positions, batch.text, batch.starts)
    states: TextStates = read_texts(model, tokens, packed, keep=(0,))
    margin = (states.match[..., 1] - states.match[..., 0]).float()
    maps = scale * (batch.spans.to(tokens.dtype) @ states.scores[0].mean(1)).float()
    evidence = pooled_evidence(maps) + auxiliary.offset
    words = auxiliary.word(batch.spans.to(states.hidden.dtype) @ states.hidden)[..., 0]
    known = ~batch.match.isnan()
    right = (margin[:, :2] > 0) == (batch.match[:, :2] > 0.5)
    parts = {"dense": dense_loss(maps + auxiliary.dense_offset, batch)} if batch.masked.any() else {}
    if cams:
        found = first_layer_cams(states, batch.spans, create_graph=True)
        parts["cams"], parts["absent"] = 0.5 * cam_loss(found, batch), 0.2 * absent_loss(found, batch)
        if cover:
            parts["cover"] = cover * cover_loss(found, batch)
    return {
        **parts,
        "match": F.binary_cross_entropy_with_logits(margin[known], batch.match[known]),
        "patches": _names_loss(evidence, batch),
        "words": 0.5 * _names_loss(words, batch),
        "accuracy": right.float().mean().detach(),
    }
