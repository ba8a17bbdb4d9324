"""M_k of Eq. 4 at its three stages: the GradCAM mask, the mask after Saliency DropOut, and the finished one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pnp_ovss.config import SegmenterConfig
from pnp_ovss.errors import ConfigError
from pnp_ovss.postprocess import label_image
from pnp_ovss.segmenter import Segmenter
from pnp_ovss.tuning.maps import MapStore

MaskStage = Literal["gradcam", "dropout", "crf"]
Masks = Callable[[int, SegmenterConfig], Tensor]
"""(index of the image, configuration) -> (K, H, W) bool at the photo's size."""


def masks_at(stage: str, store: MapStore) -> Masks:
    """The masks of a stage by name. Raises ConfigError for an unknown one."""
    if stage == "gradcam":
        return GradcamMasks(store)
    if stage == "dropout":
        return DropoutMasks(store)
    if stage == "crf":
        return FinishedMasks(store)
    raise ConfigError(f"unknown mask stage '{stage}'; choose from {', '.join(get_args(MaskStage))}")


def binary_masks(maps: Tensor, threshold: float, size: tuple[int, int]) -> Tensor:
    """Maps (K, P_h, P_w) bilinearly at (H, W), > T. Returns (K, H, W) bool."""
    return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0] > threshold


class GradcamMasks:
    """One pass: the min-max map > T. The paper tunes layer, head and T on these (§4.1)."""

    def __init__(self, store: MapStore) -> None:
        self.store = store

    def __call__(self, index: int, config: SegmenterConfig) -> Tensor:
        """(K, H, W) bool."""
        maps = self.store.maps(index, config.layer, config.head)
        return binary_masks(maps, config.threshold, self.store.photo(index).shape[:2])


class DropoutMasks:
    """All passes of Saliency DropOut: the summed map > T. The sum of a layer and head is computed once."""

    def __init__(self, store: MapStore) -> None:
        self.store = store

    def __call__(self, index: int, config: SegmenterConfig) -> Tensor:
        """(K, H, W) bool."""
        total = summed_maps(self.store, index, Segmenter(self.store.vlm, config.replace(refine="none")))
        return binary_masks(total, config.threshold, self.store.photo(index).shape[:2])


class FinishedMasks:
    """The labels of the whole pipeline, refined as `config.refine` says; the image's own classes compete."""

    def __init__(self, store: MapStore) -> None:
        self.store = store

    def __call__(self, index: int, config: SegmenterConfig) -> Tensor:
        """(K, H, W) bool."""
        segmenter = Segmenter(self.store.vlm, config)
        photo = np.asarray(self.store.photo(index))
        total = summed_maps(self.store, index, segmenter)
        scores, channels = segmenter.label_scores(total, range(len(total)), photo.shape[:2])
        if len(scores) > 1:
            scores = segmenter.refiner.refine(photo, scores)
        labels = torch.from_numpy(label_image(scores, channels, photo.shape[:2]).astype(np.int32))
        return torch.stack([labels == label for label in range(1, len(total) + 1)])


def summed_maps(store: MapStore, index: int, segmenter: Segmenter) -> Tensor:
    """M̂ (K, P_h, P_w) of step 9, kept on disk for each layer and head."""
    config, names = segmenter.config, store.images[index].class_names

    def compute() -> np.ndarray:
        passes = segmenter.saliency_passes(store.pixels(store.photo(index)), names)
        return segmenter.summed_maps(passes, [[row] for row in range(len(names))]).cpu().numpy()

    return store.cached(index, f"sum-{config.layer}-{config.head}", compute)
