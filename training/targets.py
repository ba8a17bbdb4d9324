"""Targets of the students: labels of the whole pipeline, refiner and all, at the preset's size and with the names that are there.

What the teacher sees at 448 px and what the Dense CRF finds along the photo's colours, the student is to see at 320 or 384 px by
its maps alone. In scenes whose tags are complete every pixel has a name, and PAMR takes the Dense CRF's place, which costs there.
No annotation enters but captions and tags.
"""

import functools
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from pseudo import GRID, TargetFile, concepts_to_map, rarest_photos, save_whole
from samples import Knowledge, Photo
from torch import Tensor
from torch.nn import functional as F

from pnp_ovss.segmenter import Segmenter

PHOTOS, PART, WORKERS = 6000, 250, 2
FULL = {"nyuv2", "labelmefacade"}
"""Sources whose complete tags name all but everything in a photo."""
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


@functools.cache
def teacher_of(weights: Path) -> Segmenter:
    """The pipeline around a weights file, as the preset has it but for how fast the Dense CRF is; one a process."""
    torch.set_num_threads(1)
    return Segmenter.from_pretrained(weights, bank="", policy="oracle", refine="densecrf-compiled")


@functools.cache
def teacher_of_scenes(weights: Path) -> Segmenter:
    """The same where every pixel has a name."""
    return teacher_of(weights).replace(background="none", refine="pamr")


def pipeline_masks(teacher: Segmenter, photo: Photo, names: list[str], rivals: list[bool]) -> Tensor:
    """Soft masks (K, GRID, GRID) of a photo's things: each patch's share of pixels that got the name.

    Things that are rivals compete; the others (parts, clothes, whole scenes) lie on them, so each has only the background.
    """
    trace = teacher.look(teacher.prepare(photo.path, names, keep=names))
    groups = [[name for name, rival in zip(names, rivals, strict=True) if rival]]
    groups += [[name] for name, rival in zip(names, rivals, strict=True) if not rival]
    masks = torch.zeros(len(names), *trace.prepared.image.shape[:2])
    for group in filter(None, groups):
        labels = teacher.label(trace.keep(group)).labels
        for name in group:
            masks[names.index(name)] = torch.from_numpy(labels == 1 + names.index(name))
    return F.interpolate(masks[None], size=(GRID, GRID), mode="area")[0]


def _write_part(job: tuple[Path, Path, list[tuple[Photo, list[int], list[str], list[bool]]]]) -> None:
    out, weights, items = job
    if out.exists():
        return
    found = TargetFile()
    for photo, row, names, rivals in items:
        teacher = (teacher_of_scenes if photo.complete in FULL else teacher_of)(weights)
        found.add([photo], [row], [pipeline_masks(teacher, photo, names, rivals)])
    found.write(out)


def write_targets(knowledge: Knowledge, weights: Path, out: Path) -> None:
    """The targets of the photos with the rarest things, from the weights file `weights`; finished parts are kept."""
    if out.exists():
        return
    parts = out.with_suffix("")
    parts.mkdir(exist_ok=True)
    items = [(photo, *_asked(knowledge, photo)) for photo in rarest_photos(knowledge, PHOTOS)]
    jobs = [(parts / f"{first:05d}.npz", weights, items[first : first + PART]) for first in range(0, len(items), PART)]
    with get_context("spawn").Pool(WORKERS) as pool:
        pool.map(_write_part, jobs, chunksize=1)
    stored = [np.load(path) for path, *_ in jobs]
    save_whole(out, **{key: np.concatenate([part[key] for part in stored]) for key in stored[0].files})


def _asked(knowledge: Knowledge, photo: Photo) -> tuple[list[int], list[str], list[bool]]:
    """Concepts, their names, and whether each is a rival of the others; one concept a name."""
    names = {knowledge.concepts.items[concept].names[0]: concept for concept in concepts_to_map(knowledge, photo)}
    row = list(names.values())
    return row, list(names), rivals_among(knowledge, row)
