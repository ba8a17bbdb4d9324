"""ReCo (Shin, Xie, Albanie, NeurIPS 2022), "retrieve and co-segment", as far as its text describes it.

For each class: retrieve the images of an unlabelled folder that CLIP likes best for its name; find in each
the patch that recurs in all the others (the largest mean, over the other images, of its best likeness
there); the mean of these seeds is the class's reference. A test image is compared with all references, and
the map is weighted with the dense CLIP prediction. Not done here: the suppression of frequent context
classes, and a second network for the features: those of the same CLIP serve for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pnp_ovss.baselines.clip_dense import DenseClip, upsample
from pnp_ovss.baselines.maskclip import BACKGROUND_NAME, MODEL
from pnp_ovss.clip import CLIP_TEMPERATURE, Clip
from pnp_ovss.errors import DatasetError
from pnp_ovss.evaluation.systems import Answer, Query
from pnp_ovss.images import read_image
from pnp_ovss.photo_files import find_photos
from pnp_ovss.provenance import fingerprint
from pnp_ovss.words import counted

RETRIEVED = 50


class Reco:
    """Labels from references that are co-segmented in a folder of images.

    background: whether label 0 competes (as the text "background" with a reference of its own). retrieved:
    images a class.
    """

    def __init__(self, clip: DenseClip, folder: Path, *, background: bool, retrieved: int = RETRIEVED) -> None:
        self.clip = clip
        self.folder = folder
        self.background = background
        self.retrieved = retrieved
        self.paths = tuple(find_photos(folder, deep=False)[0]) if folder.is_dir() else ()
        self._references: dict[str, Tensor] = {}
        self._archive: Tensor | None = None
        if len(self.paths) < 2:
            raise DatasetError(
                f"{folder} holds {counted(len(self.paths), 'image')}; ReCo needs a folder of images to retrieve from"
            )

    @classmethod
    def from_spec(cls, rest: str, *, background: bool, device: str = "auto") -> Reco:
        """From FOLDER[:MODEL]: the folder of images, and a hub id or folder of CLIP. Raises ModelError or DatasetError."""
        folder, _, model = rest.partition(":")
        clip = DenseClip(Clip.from_pretrained(model or MODEL, device=device))
        return cls(clip, Path(folder), background=background)

    def settings(self) -> dict[str, Any]:
        """What identifies the numbers."""
        own = {
            "weights": fingerprint(self.clip.model),
            "images": len(self.paths),
            "retrieved": self.retrieved,
            "background": self.background,
        }
        return {"model": f"ReCo {self.clip.name}", "policy": "all", "size": self.clip.size_px, **own}

    def answer(self, query: Query) -> dict[str, Answer]:
        """The class of each pixel with the highest likeness to the reference times the dense CLIP prediction."""
        names = [group[0] for group in query.classes]
        names = [BACKGROUND_NAME, *names] if self.background else names
        features = self.clip.dense(query.image)
        shares = (features.patches @ self.clip.texts(names).T / CLIP_TEMPERATURE).softmax(dim=1)
        likeness = (features.patches @ self.references(names).T).clamp(min=0)
        scores = upsample((likeness * shares).T, features.grid, query.image.shape[:2])
        return {"": Answer(scores.argmax(dim=0).cpu().numpy() + (0 if self.background else 1))}

    def references(self, names: Sequence[str]) -> Tensor:
        """Unit vectors (len(names), D), made when a name is first asked."""
        for name in names:
            if name not in self._references:
                images = [self.clip.dense(read_image(path)).patches for path in self._retrieve(name)]
                self._references[name] = co_segment(images)
        return torch.stack([self._references[name] for name in names])

    def _retrieve(self, name: str) -> list[Path]:
        if self._archive is None:
            self._archive = torch.stack([self.clip.whole(read_image(path)) for path in self.paths])
        likeness = self._archive @ self.clip.texts([name])[0]
        best = likeness.argsort(descending=True, stable=True)[: self.retrieved]
        return [self.paths[index] for index in best.tolist()]


def co_segment(images: Sequence[Tensor]) -> Tensor:
    """The reference (D,) of what recurs in images of unit patch vectors (P_i, D).

    In each image the seed is the patch with the largest mean, over the other images, of its best likeness
    there.
    """
    seeds = []
    for index, patches in enumerate(images):
        others = [other for place, other in enumerate(images) if place != index]
        recurrence = torch.stack([(patches @ other.T).amax(dim=1) for other in others]).mean(dim=0)
        seeds.append(patches[int(recurrence.argmax())])
    return F.normalize(torch.stack(seeds).mean(dim=0), dim=0)
