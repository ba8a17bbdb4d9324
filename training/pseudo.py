"""Self-training targets: where a teacher sees the named things in the training photos, cleaned up along colour edges.

No annotation enters but captions and tags: the maps are the teacher's own, made competitive between the things of one photo and
smoothed by pixel-adaptive refinement.
"""

from pathlib import Path

import numpy as np
import torch
from batches import Batches, how_often
from cache import View, read_pixels
from forward import read_texts
from samples import Knowledge, Photo
from start import MIRRORED, PLAIN, blank_model
from torch import Tensor
from torch.nn import functional as F

from pnp_ovss.refiners.pamr import affinity, neighbours

GRID, GUIDE_PX, MOST = 24, 48, 8
DILATIONS_PX, BANDWIDTH, ROUNDS = (1, 2, 4), 0.3, 6


def refine(maps: Tensor, guide: Tensor) -> Tensor:
    """Average maps (C, S, S) along the colours of the guide (3, S, S), several times."""
    weights = affinity(guide, DILATIONS_PX, BANDWIDTH)
    for _ in range(ROUNDS):
        maps = sum(share * near for share, near in zip(weights, neighbours(maps, DILATIONS_PX), strict=True))
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
    model: torch.nn.Module, batches: Batches, photos: list[Photo], lists: list[list[int]], view: View
) -> list[Tensor]:
    """First-layer score maps (K, GRID, GRID) of the concepts of each photo, each name in its own text."""
    batch = batches.prompts(photos, lists, view)
    tokens = model.image_encoder.tokens(batch.middle)
    states = read_texts(model, tokens, (batch.ids, batch.positions, batch.text, batch.starts))
    maps = (batch.spans.to(tokens.dtype) @ states.scores.mean(1)).float()
    side = round(maps.shape[-1] ** 0.5)
    maps = F.interpolate(maps.unflatten(-1, (side, side)), size=(GRID, GRID), mode="bilinear", align_corners=False)
    maps = maps.flip(-1) if view.mirrored else maps
    return [maps[b, : len(row)] for b, row in enumerate(lists)]


BACKGROUND, PHOTOS = 0.5, 5000
"""Level of the background among maps in [0, 1]; how many photos get targets, those with the rarest things."""


def targets(maps: list[Tensor], guides: Tensor, rivals: list[int]) -> list[Tensor]:
    """Soft masks (K, GRID, GRID) of each of B photos: share of the thing at each patch.

    maps: the teacher's evidence (K, GRID, GRID) at each patch, K a photo's own. guides: (B, 3, GUIDE_PX, GUIDE_PX). All
    compete with the background; the first `rivals` things of a photo (objects that do not overlap) also with each other,
    the rest (a shirt on a person) do not.
    """
    layers = torch.full((len(maps), 1 + max(map(len, maps)), GRID, GRID), BACKGROUND)
    for photo, own in zip(layers, maps, strict=True):
        low, high = own.amin((1, 2), keepdim=True), own.amax((1, 2), keepdim=True)
        photo[1 : 1 + len(own)] = (own - low) / (high - low + 1e-6)
    wide = F.interpolate(layers, size=(GUIDE_PX, GUIDE_PX), mode="bilinear", align_corners=False)
    refined = [refine(*both) for both in zip(wide, guides, strict=True)]
    return [_sharpen(photo[: 1 + len(own)], r) for photo, own, r in zip(refined, maps, rivals, strict=True)]


def _sharpen(refined: Tensor, rivals: int) -> Tensor:
    """(1 + K, GUIDE_PX, GUIDE_PX) of background and things to soft masks (K, GRID, GRID)."""
    others = [(12 * torch.stack([refined[0], row])).softmax(0)[1] for row in refined[1 + rivals :]]
    sharp = torch.cat([(12 * refined[: 1 + rivals]).softmax(0)[1:], *[row[None] for row in others]])
    return F.interpolate(sharp[None], size=(GRID, GRID), mode="area")[0]


def rarest_photos(knowledge: Knowledge, count: int) -> list[Photo]:
    """At most `count` photos with something in them, those that are drawn most often, in the order of their rows."""
    ranked = np.diff(how_often(knowledge), prepend=0).argsort()[::-1][:count]
    return [knowledge.photos[i] for i in sorted(ranked) if knowledge.photos[i].present]


class TargetFile:
    """Gathers targets and writes them when all are there."""

    def __init__(self) -> None:
        self.rows, self.concepts, self.maps = [], [], []

    def add(self, photos: list[Photo], lists: list[list[int]], masks: list[Tensor]) -> None:
        """Masks (K, GRID, GRID) in [0, 1] of each photo's concepts."""
        self.rows += [photo.row for photo, row in zip(photos, lists, strict=True) for _ in row]
        self.concepts += [concept for row in lists for concept in row]
        self.maps += [(255 * mask).round().byte().numpy() for mask in masks]

    def write(self, out: Path) -> None:
        """Photo rows, concepts and maps (uint8)."""
        maps = np.concatenate(self.maps)
        save_whole(out, rows=np.array(self.rows), concepts=np.array(self.concepts), maps=maps)
        print(len(self.rows), "maps, mean share", maps.mean() / 255)


def save_whole(out: Path, **arrays: np.ndarray) -> None:
    """Write a file of arrays, whole or not at all."""
    unfinished = out.with_suffix(".tmp.npz")
    np.savez(unfinished, **arrays)
    unfinished.rename(out)


def write_targets(knowledge: Knowledge, work: Path, teacher: Path, out: Path) -> None:
    """The first round's targets, if they are not there, from the score maps of the checkpoint `teacher`."""
    if out.exists():
        return
    model, tokenizer = blank_model()
    model.load_state_dict(torch.load(teacher, weights_only=True)["model"])
    model.eval().bfloat16()
    batches, found = Batches(knowledge, tokenizer, work, 0), TargetFile()
    photos = rarest_photos(knowledge, PHOTOS)
    for first in range(0, len(photos), 16):
        part = photos[first : first + 16]
        lists = [concepts_to_map(knowledge, photo) for photo in part]
        several = [score_maps(model, batches, part, lists, view) for view in (PLAIN, MIRRORED)]
        means = [torch.stack(views).mean(0) for views in zip(*several, strict=True)]
        guides = torch.from_numpy(np.stack([read_pixels(photo.path, GUIDE_PX) for photo in part]))
        rivals = [sum(i in knowledge.voc for i in row) for row in lists]
        found.add(part, lists, targets(means, guides, rivals))
    found.write(out)
