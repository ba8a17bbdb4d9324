"""Targets of the last stage: the GradCAM of the stage before, completed by affinity, decided by equal mass, refined along colours.

They are made with the steps of inference, and then some: what they know beyond one look of the teacher is the photo's tags, its
colour edges and which things of a photo cannot lie on each other.
"""

from pathlib import Path

import numpy as np
import torch
from batches import Batches
from cache import read_pixels
from forward import first_layer_cams, read_texts
from losses import affinity
from pseudo import GRID, TargetFile, concepts_to_map, on_grid, rarest_photos, refine
from samples import Knowledge, Photo
from start import MIRRORED, blank_model
from torch import Tensor
from torch.nn import functional as F

from pnp_ovss.vlms.encoders.pocket_model import PocketModel

PHOTOS, GUIDE_PX, ROUNDS, VIEW, AT_ONCE = 6000, 48, 16, MIRRORED, 8
THRESHOLD, SOFT, SHARP, STEEP = 0.25, 0.05, 2.0, 10.0
"""Foreground is where a thing's map over its peak is beyond the threshold, softly; how much the winner's share is raised, and the
refined winner's."""
ALONE = [
    "hat", "helmet", "sunglasses", "tie", "shirt", "jacket", "dress", "suit", "shoe", "shorts", "gloves", "wetsuit", "uniform",
    "costume", "clothes", "wheel", "window", "door", "leaves", "food", "fruit", "vegetable", "salad", "bedroom", "kitchen",
    "bathroom", "room", "stage", "forest", "beach", "market", "restaurant", "playground", "court", "stadium", "flag",
    "dessert", "meat", "glass", "pillow", "paper", "stairs", "stick", "rope", "bag", "smoke", "fire",
]  # fmt: skip
"""Parts, clothes and whole scenes: they lie on other things, so they compete with the background alone."""


def rivals_among(knowledge: Knowledge, row: list[int]) -> list[bool]:
    """Whether each thing of a photo competes with the others."""
    alone = {knowledge.root(knowledge.concepts.by_name[name]) for name in ALONE}
    return [knowledge.root(concept) not in alone for concept in row]


def completed_cams(model: PocketModel, batches: Batches, photos: list[Photo], lists: list[list[int]]) -> list[Tensor]:
    """The first layer's GradCAM, completed by the tokens' affinity, (K, GRID, GRID) of each photo, all names in one text."""
    batch = batches.prompts(photos, lists, VIEW, together=True)
    with torch.no_grad():
        tokens = model.image_encoder.tokens(batch.middle)
    states = read_texts(model, tokens, (batch.ids, batch.positions, batch.text, batch.starts), keep=(0,))
    cams = first_layer_cams(states, batch.spans).detach()
    return on_grid(cams @ affinity(tokens).transpose(1, 2), lists, VIEW)


def peak_one(maps: Tensor) -> Tensor:
    """Maps (..., N) ≥ 0 over their peak."""
    return maps / maps.amax(-1, keepdim=True).clamp(min=1e-8)


def decide(maps: Tensor, rivals: list[bool], guide: Tensor) -> Tensor:
    """Soft masks (K, GRID, GRID) of a photo's things from their completed maps (K, GRID, GRID) ≥ 0.

    Foreground first (any map over its peak beyond the threshold), then the class by shares of mass 1, among the things that
    are rivals; the others have only the background to compete with. All follow the colours of the guide (3, S, S).
    """
    compete = torch.tensor(rivals)[:, None, None]
    unit = peak_one(maps.flatten(1)).unflatten(1, maps.shape[1:])
    there = ((unit - THRESHOLD) / SOFT).sigmoid()
    shares = maps / maps.sum((1, 2), keepdim=True).clamp(min=1e-8) * compete
    shares = (shares / shares.sum(0).clamp(min=1e-8)) ** SHARP
    foreground = (there * compete).amax(0, keepdim=True)
    won = foreground * shares / shares.sum(0).clamp(min=1e-8)
    scores = torch.cat([1 - foreground, torch.where(compete, won, there)])
    return _sharpen(_follow_colours(scores, guide), compete[:, 0, 0])


def _follow_colours(scores: Tensor, guide: Tensor) -> Tensor:
    """(C, GRID, GRID) to (C, GUIDE_PX, GUIDE_PX)."""
    wide = F.interpolate(scores[None], size=guide.shape[1:], mode="bilinear", align_corners=False)
    return refine(wide, guide[None], ROUNDS)[0]


def _sharpen(refined: Tensor, rivals: Tensor) -> Tensor:
    """(1 + K, GUIDE_PX, GUIDE_PX) of background and things, rivals (K,) bool among them, to soft masks (K, GRID, GRID)."""
    own = refined[1:]
    sharp = (STEEP * (2 * own - 1)).sigmoid()
    sharp[rivals] = (STEEP * torch.cat([refined[:1], own[rivals]])).softmax(0)[1:]
    return F.interpolate(sharp[None], size=(GRID, GRID), mode="area")[0]


def write_completed(knowledge: Knowledge, work: Path, teacher: Path, out: Path) -> None:
    """The targets of stage "student", if they are not there, from the checkpoint `teacher`."""
    if out.exists():
        return
    model, tokenizer = blank_model()
    model.load_state_dict(torch.load(teacher, weights_only=True)["model"])
    model.eval().bfloat16()
    batches, found = Batches(knowledge, tokenizer, work, 0), TargetFile()
    photos = rarest_photos(batches, PHOTOS)
    for first in range(0, len(photos), AT_ONCE):
        part = photos[first : first + AT_ONCE]
        lists = [concepts_to_map(knowledge, photo) for photo in part]
        maps = completed_cams(model, batches, part, lists)
        guides = torch.from_numpy(np.stack([read_pixels(photo.path, GUIDE_PX) for photo in part]))
        decided = [decide(m, rivals_among(knowledge, row), g) for m, row, g in zip(maps, lists, guides, strict=True)]
        found.add(part, lists, decided)
    found.write(out)
