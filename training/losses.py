"""The training losses: matching, word-patch evidence pooled over the image, and words in the bag."""

import math
from collections.abc import Sequence

import torch
from batches import Batch, name_owners
from forward import SCALE, TextStates, first_layer_cams, read_texts
from torch import Tensor, nn
from torch.nn import functional as F

from pnp_ovss.vlms.encoders.pocket_model import PocketModel

CUT, SOFTNESS = 0.25, 0.05
"""Where the completed GradCAM over its peak is cut, and how softly, in the overlap that the last stage raises."""
POWER = 16
"""Of the affinity that completes maps (the preset's `affinity_power`)."""
SURE, PAIRS, ALIKE, STEEP = 0.6, 96, 0.85, 20.0
"""Affinity loss: a patch's share of its thing, patches drawn a photo, the cosine that divides like from unlike, how steeply."""


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


def affinity(tokens: Tensor, power: int = POWER) -> Tensor:
    """How alike the image tokens (B, N, D) are: max(0, cosine)^power, rows of sum 1, (B, N, N) float32."""
    unit = F.normalize(tokens.float(), dim=-1)
    alike = (unit @ unit.transpose(1, 2)).clamp(min=0) ** power
    return alike / alike.sum(-1, keepdim=True)


def compete_loss(cams: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy of who wins a patch among the things of a text that are there, each with mass 1; cams (B, M, N) completed."""
    shares = cams / cams.sum(-1, keepdim=True).clamp(min=1e-8)
    masks = batch.masks.flatten(2)
    usable = batch.masked & (batch.there > 0) & (masks.sum(-1) > 1)
    owners = name_owners(batch) * usable[:, None]
    wins = owners[..., None] * (shares[:, None] + 1e-6)
    target = owners[..., None] * masks[:, None]
    inside = target.amax(2) * (owners.sum(-1) > 1)[..., None]
    said = (wins / wins.sum(2, keepdim=True).clamp(min=1e-8)).clamp(min=1e-6).log()
    wanted = target / target.sum(2, keepdim=True).clamp(min=1e-6)
    wanted = wanted * (wanted > 0)
    loss = -(wanted * said).sum(2) + (wanted * wanted.clamp(min=1e-6).log()).sum(2)
    return (loss * inside).sum() / inside.sum().clamp(min=1)


def affinity_loss(tokens: Tensor, batch: Batch) -> Tensor:
    """Tokens (B, N, D) of one thing are to be alike, of two things or of a thing and what is around it unlike."""
    masks = batch.masks.flatten(2) * (batch.masked & (batch.there > 0))[..., None]
    share, thing = masks.max(1)
    thing = torch.where(share > SURE, _first_alike(masks, thing), torch.where(share < 1 - SURE, -1, -2))
    drawn = torch.randint(tokens.shape[1], (len(tokens), PAIRS))
    unit = F.normalize(tokens.float().take_along_dim(drawn[..., None], 1), dim=-1)
    thing = thing.take_along_dim(drawn, 1)
    one, other = thing[:, :, None], thing[:, None]
    same = ((one == other) & (one >= 0)).float()
    known = (one > -2) & (other > -2) & ((one >= 0) | (other >= 0))
    logits = STEEP * (unit @ unit.transpose(1, 2) - ALIKE)
    loss = F.binary_cross_entropy_with_logits(logits, same, reduction="none")
    parts = [(loss * w).sum() / w.sum().clamp(min=1) for w in (known * same, known * (1 - same))]
    return 0.5 * (parts[0] + parts[1])


def _first_alike(masks: Tensor, thing: Tensor) -> Tensor:
    """The first name with the same mask as the winner, so that "man" and "person" are one thing; (B, M, N), (B, N) → (B, N)."""
    same = torch.cdist(masks, masks, p=1.0) < 1e-3
    return same.float().argmax(-1).take_along_dim(thing, 1)


def match_loss(margin: Tensor, match: Tensor, told: Tensor | None = None) -> Tensor:
    """Cross-entropy of the matching of texts (B, K): with what is known of them (NaN: nothing), a half of it the teacher's word.

    told: the teacher's probabilities (B, K). They soften what captions leave out and hold what the first stages learnt.
    """
    known = ~match.isnan()
    target = match[known] if told is None else (match[known] + told[known]) / 2
    return F.binary_cross_entropy_with_logits(margin[known], target)


@torch.no_grad()
def told_by(teacher: PocketModel, batch: Batch, views: Sequence[Tensor]) -> Tensor:
    """How sure a teacher is of each text (B, K), by the mean logit of several views of the photos (trunk features)."""
    packed = (batch.ids, batch.positions, batch.text, batch.starts)
    matches = [read_texts(teacher, teacher.image_encoder.tokens(view), packed).match for view in views]
    return torch.stack([match[..., 1] - match[..., 0] for match in matches]).float().mean(0).sigmoid()


def losses(
    model: PocketModel,
    auxiliary: Auxiliary,
    batch: Batch,
    *,
    scale: float = SCALE,
    cams: bool = False,
    cover: float = 0.0,
    told: Tensor | None = None,
) -> dict[str, Tensor]:
    """The losses and the accuracy on single names; evidence = `scale` x word-patch score; `told` (B, K): see `match_loss`."""
    tokens = model.image_encoder.tokens(batch.middle)
    packed = (batch.ids, batch.positions, batch.text, batch.starts)
    states: TextStates = read_texts(model, tokens, packed)
    margin = (states.match[..., 1] - states.match[..., 0]).float()
    maps = scale * (batch.spans.to(tokens.dtype) @ states.scores.mean(1)).float()
    evidence = pooled_evidence(maps) + auxiliary.offset
    words = auxiliary.word(batch.spans.to(states.hidden.dtype) @ states.hidden)[..., 0]
    right = (margin[:, :2] > 0) == (batch.match[:, :2] > 0.5)
    parts = {"dense": dense_loss(maps + auxiliary.dense_offset, batch)} if batch.masked.any() else {}
    if cams:
        found = first_layer_cams(states, batch.spans)
        completed = found @ affinity(tokens).transpose(1, 2)
        parts["cams"], parts["absent"] = 0.5 * cam_loss(completed, batch), 0.2 * absent_loss(found, batch)
        parts["compete"], parts["alike"] = 0.5 * compete_loss(completed, batch), 0.3 * affinity_loss(tokens, batch)
        parts["cover"] = cover * cover_loss(completed, batch)
    return {
        **parts,
        "match": match_loss(margin, batch.match, told),
        "patches": _names_loss(evidence, batch),
        "words": 0.5 * _names_loss(words, batch),
        "accuracy": right.float().mean().detach(),
    }
