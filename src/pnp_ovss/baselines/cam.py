"""Class activation maps (Zhou et al., CVPR 2016) of the pocket model's image trunk, from image-level tags
alone.

A linear classifier is fitted on the mean of the trunk's top features over tagged photographs; its weights,
applied to each position instead, are the maps. What a vision-language model adds to its own image encoder
shows against this.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pnp_ovss.baselines.clip_dense import upsample
from pnp_ovss.datasets.base import TaggedImage
from pnp_ovss.datasets.vocabulary import make_vocabulary
from pnp_ovss.errors import ClassNameError, DatasetError
from pnp_ovss.evaluation.systems import Answer, Classes, Query
from pnp_ovss.extras import need
from pnp_ovss.files import read_lines
from pnp_ovss.images import normalise_pixels, read_image, to_pixels

FIT_PX, SIZE_PX = 224, 448
STEPS, WEIGHT_DECAY = 200, 1e-3

Features = Callable[[np.ndarray, int], Tensor]
"""(H, W, 3) uint8 and a side in pixels -> features (D, h, w)."""


class TagCam:
    """Labels from a linear classifier on features, fitted to the query's classes when they are first seen.

    features: of the trunk. tagged: the photographs to fit on. background: whether label 0 wins where every
    logit is negative.
    """

    def __init__(self, features: Features, tagged: Sequence[TaggedImage], *, background: bool, name: str) -> None:
        self.features = features
        self.tagged = tuple(tagged)
        self.background = background
        self.name = name
        self._pooled: Tensor | None = None
        self._heads: dict[Classes, tuple[Tensor, Tensor]] = {}

    @classmethod
    def from_spec(cls, path: str | Path, *, background: bool, device: str = "cpu") -> TagCam:  # noqa: ARG003
        """From JSON lines {"image", "tags", "split"} beside a folder `images`; the lines of split `train` with tags."""
        from pnp_ovss.vlms.encoders.efficientnet import load_trunk
        from pnp_ovss.vlms.encoders.pocket_model import MEAN, STD

        trunk = load_trunk()

        @torch.no_grad()
        def features(image: np.ndarray, side_px: int) -> Tensor:
            pixels = normalise_pixels(to_pixels(image, (side_px, side_px)), MEAN, STD)
            return trunk(pixels[None])[1][0]

        return cls(features, read_tagged(Path(path)), background=background, name="EfficientNet-lite2")

    def settings(self) -> dict[str, Any]:
        """What identifies the numbers."""
        own = {"photographs": len(self.tagged), "background": self.background, "fit_px": FIT_PX}
        return {"model": f"CAM {self.name}", "policy": "all", "size": SIZE_PX, **own}

    def answer(self, query: Query) -> dict[str, Answer]:
        """The class with the highest logit at each pixel, or background where none is positive."""
        weight, bias = self._head(query.classes)
        found = self.features(query.image, SIZE_PX)
        logits = weight @ found.flatten(1) + bias[:, None]
        best, index = upsample(logits, (found.shape[1], found.shape[2]), query.image.shape[:2]).max(dim=0)
        labels = index + 1
        if self.background:
            labels = torch.where(best > 0, labels, torch.zeros_like(labels))
        return {"": Answer(labels.numpy())}

    def _head(self, classes: Classes) -> tuple[Tensor, Tensor]:
        if classes not in self._heads:
            if self._pooled is None:
                pooled = [self.features(read_image(photo.path), FIT_PX).mean(dim=(1, 2)) for photo in self.tagged]
                self._pooled = torch.stack(pooled)
            self._heads[classes] = fit_linear(self._pooled, _targets(self.tagged, classes))
        return self._heads[classes]


def read_tagged(path: Path) -> list[TaggedImage]:
    """The tagged photographs of a JSON lines file. Raises DatasetError if there are none."""
    try:
        entries = [json.loads(line) for line in read_lines(path, error=DatasetError) if line.strip()]
        chosen = [entry for entry in entries if entry["tags"] and entry.get("split", "train") == "train"]
        tagged = [TaggedImage(path.parent / "images" / entry["image"], tuple(entry["tags"])) for entry in chosen]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError(
            f'cannot read the tags {path}: {error!r}; expected lines {{"image": ..., "tags": [...]}}'
        ) from None
    if not tagged:
        raise DatasetError(f"{path} names no tagged photographs of the split `train`")
    return tagged


def fit_linear(pooled: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (K, D) and bias (K,) of logistic regressions, one a class: features (N, D), targets (N, K) in {0, 1}.

    L-BFGS on standardised features with a little weight decay, from zero: the same every time.
    """
    mean, deviation = pooled.mean(dim=0), pooled.std(dim=0).clamp(min=1e-6)
    inputs = ((pooled - mean) / deviation).double().numpy()
    found = [_fit_one(inputs, column) for column in targets.double().numpy().T]
    weight = torch.from_numpy(np.stack([one[:-1] for one in found])).float() / deviation
    bias = torch.tensor([one[-1] for one in found]).float()
    return weight, bias - weight @ mean


def _fit_one(inputs: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Weight (D,) and, last, bias of one regression."""
    need("scipy", "the CAM baseline", "hub")
    from scipy.optimize import minimize
    from scipy.special import expit

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weight, bias = parameters[:-1], parameters[-1]
        logits = inputs @ weight + bias
        value = np.logaddexp(0, logits) - target * logits
        error = (expit(logits) - target) / len(target)
        gradient = np.append(inputs.T @ error + 2 * WEIGHT_DECAY * weight, error.sum())
        return float(value.mean() + WEIGHT_DECAY * (weight @ weight)), gradient

    start = np.zeros(inputs.shape[1] + 1)
    return minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS}).x


def _targets(tagged: Sequence[TaggedImage], classes: Classes) -> Tensor:
    vocabulary = make_vocabulary("queried", [", ".join(group) for group in classes])
    targets = torch.zeros(len(tagged), len(classes))
    for row, photo in enumerate(tagged):
        for name in photo.class_names:
            try:
                targets[row, vocabulary.label(name) - 1] = 1
            except ClassNameError:  # a tag outside the queried classes
                continue
    return targets
