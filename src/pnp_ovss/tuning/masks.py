"""M_k of Eq. 4 at its three stages: the GradCAM mask, the mask after Saliency DropOut, and the finished one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pnp_ovss.config import SegmenterConfig
from pnp_ovss.errors import ConfigError
from pnp_ovss.postprocess import on_threshold_scale
from pnp_ovss.segmenter import Segmenter
from pnp_ovss.trace import Trace
from pnp_ovss.tuning.maps import MapStore

Masks = Callable[[int, SegmenterConfig], Tensor]
"""(index of the image, configuration) -> (K, H, W) bool at the photo's size."""


def masks_at(stage: str, store: MapStore) -> Masks:
    """The masks of a stage by name. Raises ConfigError for an unknown one."""
    if stage not in _STAGES:
        raise ConfigError(f"unknown mask stage '{stage}'; choose from {', '.join(_STAGES)}")
    return _STAGES[stage](store)


def binary_masks(maps: Tensor, threshold: float, size: tuple[int, int]) -> Tensor:
    """Maps (K, P_h, P_w) bilinearly at (H, W), > T. Returns (K, H, W) bool."""
    return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0] > threshold


class _StoreMasks:
    """Masks of a store's photos; its traces are made once for a layer and head: a blur or a T needs no other."""

    def __init__(self, store: MapStore) -> None:
        self.store = store
        self._traces: dict[int, tuple[SegmenterConfig, Trace]] = {}

    def looked(self, index: int, config: SegmenterConfig) -> tuple[Segmenter, Trace]:
        """The store's segmenter with the settings of `config` that `look` and `label` read, and its trace of a photo."""
        own = self.store.segmenter.config
        names = [*own.differing(config, "look"), *own.differing(config, "label")]
        segmenter = self.store.segmenter.replace(**{name: getattr(config, name) for name in names})
        if index not in self._traces or self._traces[index][0].differing(segmenter.config, "look"):
            self._traces[index] = segmenter.config, segmenter.look(self.store.prepared(index, segmenter))
        return segmenter, self._traces[index][1]


class GradcamMasks(_StoreMasks):
    """One pass: the min-max map > T. The paper tunes layer, head and T on these (§4.1)."""

    def __call__(self, index: int, config: SegmenterConfig) -> Tensor:
        """(K, H, W) bool."""
        maps = self.store.maps(index, config.layer, config.head)
        return binary_masks(maps, config.threshold, self.store.photo(index).shape[:2])


class DropoutMasks(_StoreMasks):
    """All passes of Saliency DropOut: the summed map > T."""

    def __call__(self, index: int, config: SegmenterConfig) -> Tensor:
        """(K, H, W) bool."""
        segmenter, trace = self.looked(index, config)
        total = on_threshold_scale(segmenter.sum_maps(trace), config)
        return binary_masks(total, config.threshold, self.store.photo(index).shape[:2])


class FinishedMasks(_StoreMasks):
    """The labels of the whole pipeline, refined as `config.refine` says; the image's own classes compete."""

    def __call__(self, index: int, config: SegmenterConfig) -> Tensor:
        """(K, H, W) bool."""
        segmenter, trace = self.looked(index, config)
        labels = torch.from_numpy(segmenter.label(trace).labels.astype(np.int32))
        return torch.stack([labels == label for label in range(1, len(self.store.images[index].class_names) + 1)])


_STAGES = {"gradcam": GradcamMasks, "dropout": DropoutMasks, "crf": FinishedMasks}
