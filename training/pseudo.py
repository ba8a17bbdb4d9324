"""Self-training targets: where a teacher sees the named things in the training photos, cleaned up along colour edges.

No annotation enters but captions and tags: the maps are the teacher's own, made competitive between the things of one photo and
smoothed by pixel-adaptive refinement (Araslanov and Roth, CVPR 2020), written anew here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from batches import Batches
from cache import count_cached, read_pixels
from forward import first_layer_cams, read_texts
from samples import Knowledge, Photo
from start import new_model, read_knowledge
from torch import Tensor
from torch.nn import functional as F

GRID, GUIDE_PX, MOST = 24, 48, 4
SIZES_PX = (256, 384)
DILATIONS, ROUNDS = (1, 2, 4), 6


def pixel_affinities(guide: Tensor) -> Tensor:
    """Softmax affinities (B, 24, S, S) of each pixel to 8 neighbours at 3 distances, by colour."""
    shifted = _neighbours(guide)
    spread = shifted.std(2, keepdim=True) + 1e-4
    distance = (shifted - guide[:, :, None]).abs() / (0.3 * spread)
    return (-distance.mean(1)).softmax(1)


def _neighbours(maps: Tensor) -> Tensor:
    """(B, C, S, S) → (B, C, 24, S, S)."""
    found = []
    for step in DILATIONS:
        padded = F.pad(maps, (step,) * 4, mode="replicate")
        size = maps.shape[-1]
        for dy in (0, step, 2 * step):
            for dx in (0, step, 2 * step):
                if (dy, dx) != (step, step):
                    found.append(padded[..., dy : dy + size, dx : dx + size])
    return torch.stack(found, 2)


def refine(maps: Tensor, guide: Tensor) -> Tensor:
    """Average maps (B, C, S, S) along the guide's colours."""
    weights = pixel_affinities(guide)[:, None]
    for _ in range(ROUNDS):
        maps = (_neighbours(maps) * weights).sum(2)
    return maps


def concepts_to_map(knowledge: Knowledge, photo: Photo) -> list[int]:
    """One concept for each kind of thing in the photo: the most often named one of the kind."""
    best: dict[int, int] = {}
    for index in photo.present:
        root = knowledge.root(index)
        if root not in best or knowledge.counts[index] > knowledge.counts[best[root]]:
            best[root] = index
    ranked = sorted(best.values(), key=lambda i: (i not in knowledge.voc, knowledge.counts[i] < 8, i))
    return ranked[:MOST]


@torch.inference_mode()
def score_maps(
    model: torch.nn.Module, batches: Batches, photos: list[Photo], lists: list[list[int]], size_px: int
) -> list[Tensor]:
    """First-layer score maps (K, GRID, GRID) of the concepts of each photo, each name in its own text."""
    batch = batches.prompts(photos, lists, size_px, together=False)
    tokens = model.image_encoder.tokens(batch.middle)
    states = read_texts(model, tokens, (batch.ids, batch.positions, batch.text, batch.starts), keep=(0,))
    return _on_grid((batch.spans.to(tokens.dtype) @ states.scores[0].mean(1)).float(), lists)


def cam_maps(
    model: torch.nn.Module, batches: Batches, photos: list[Photo], lists: list[list[int]], size_px: int
) -> list[Tensor]:
    """Square roots of the first layer's GradCAM (K, GRID, GRID), peak 1, all names of a photo in one text."""
    batch = batches.prompts(photos, lists, size_px, together=True)
    with torch.no_grad():
        tokens = model.image_encoder.tokens(batch.middle)
    states = read_texts(model, tokens, (batch.ids, batch.positions, batch.text, batch.starts), keep=(0,))
    cams = first_layer_cams(states, batch.spans).detach()
    return _on_grid(flat_peaks(cams), lists)


def flat_peaks(maps: Tensor) -> Tensor:
    """Square roots of maps (..., N) ≥ 0 whose peak over N becomes 1."""
    return (maps / maps.amax(-1, keepdim=True).clamp(min=1e-8)).sqrt()


def _on_grid(maps: Tensor, lists: list[list[int]]) -> list[Tensor]:
    side = round(maps.shape[-1] ** 0.5)
    maps = F.interpolate(maps.unflatten(-1, (side, side)), size=(GRID, GRID), mode="bilinear", align_corners=False)
    return [maps[b, : len(row)] for b, row in enumerate(lists)]


@dataclass(frozen=True)
class Teaching:
    """How one round of self-training targets is made: whose maps, against which level of background, of how many photos."""

    maps: Callable[..., list[Tensor]]
    background: float
    photos: int


FIRST = Teaching(score_maps, 0.5, 5000)
SECOND = Teaching(cam_maps, 0.4, 12000)


def targets(maps: list[Tensor], guides: Tensor, background: float, rivals: list[int]) -> list[Tensor]:
    """Soft masks (K, GRID, GRID) of each of B photos: share of the thing at each patch.

    maps: the teacher's evidence (K, GRID, GRID) at each patch, K a photo's own. guides: (B, 3, GUIDE_PX, GUIDE_PX). All
    compete with the background; the first `rivals` things of a photo (objects that do not overlap) also with each other,
    the rest (a shirt on a person) do not.
    """
    layers = torch.full((len(maps), 1 + max(map(len, maps)), GRID, GRID), background)
    for photo, own in zip(layers, maps, strict=True):
        low, high = own.amin((1, 2), keepdim=True), own.amax((1, 2), keepdim=True)
        photo[1 : 1 + len(own)] = (own - low) / (high - low + 1e-6)
    wide = F.interpolate(layers, size=(GUIDE_PX, GUIDE_PX), mode="bilinear", align_corners=False)
    refined = refine(wide, guides)
    return [_sharpen(photo[: 1 + len(own)], r) for photo, own, r in zip(refined, maps, rivals, strict=True)]


def _sharpen(refined: Tensor, rivals: int) -> Tensor:
    """(1 + K, GUIDE_PX, GUIDE_PX) of background and things to soft masks (K, GRID, GRID)."""
    others = [(12 * torch.stack([refined[0], row])).softmax(0)[1] for row in refined[1 + rivals :]]
    sharp = torch.cat([(12 * refined[: 1 + rivals]).softmax(0)[1:], *[row[None] for row in others]])
    return F.interpolate(sharp[None], size=(GRID, GRID), mode="area")[0]


def write_targets(data: Path, work: Path, teacher: Path, out: Path, how: Teaching) -> None:
    """Write photo rows, concepts and maps (uint8) of the `how.photos` photos with the rarest things."""
    knowledge = read_knowledge(data, work)
    model, tokenizer = new_model(data, thawed=False)
    model.load_state_dict(torch.load(teacher, weights_only=True)["model"])
    model.eval().bfloat16()
    batches = Batches(knowledge, tokenizer, work, 0)
    cached = {s: count_cached(work, s) for s in SIZES_PX}
    rows, concepts, maps = [], [], []
    ranked = np.diff(batches.weights, prepend=0).argsort()[::-1][: how.photos]
    photos = [knowledge.photos[i] for i in sorted(ranked) if knowledge.photos[i].present]
    for first in range(0, len(photos), 32):
        part = photos[first : first + 32]
        lists = [concepts_to_map(knowledge, photo) for photo in part]
        sizes = [s for s in SIZES_PX if part[-1].row < cached[s]]
        found = [how.maps(model, batches, part, lists, size) for size in sizes]
        means = [torch.stack(several).mean(0) for several in zip(*found, strict=True)]
        guides = torch.from_numpy(np.stack([read_pixels(photo.path, GUIDE_PX) for photo in part]))
        rivals = [sum(i in knowledge.voc for i in row) for row in lists]
        masks = targets(means, guides, how.background, rivals)
        rows += [photo.row for photo, row in zip(part, lists, strict=True) for _ in row]
        concepts += [concept for row in lists for concept in row]
        maps += [(255 * mask).round().byte().numpy() for mask in masks]
    unfinished = out.with_suffix(".tmp.npz")
    np.savez(unfinished, rows=np.array(rows), concepts=np.array(concepts), maps=np.concatenate(maps))
    unfinished.rename(out)
    print(len(rows), "maps, mean share", np.concatenate(maps).mean() / 255)
