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
from pnp_ovss.postprocess import on_threshold_scale
from pnp_ovss.segmenter import Segmenter
from pnp_ovss.trace import Trace
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


class _Traces:
    """The traces of the store's photos for one layer and head, made once: a blur or a T needs no other."""

    def __init__(self, store: MapStore) -> None:
        self.store = store
        self._found: dict[int, tuple[SegmenterConfig, Trace]] = {}

    def __call__(self, index: int, segmenter: Segmenter) -> Trace:
        made_by, trace = self._found.get(index, (None, None))
        if trace is None or made_by is None or made_by.differing(segmenter.config, "look"):
            trace = segmenter.look(self.store.prepared(index, segmenter))
            self._found[index] = segmenter.config, trace
        return trace


class DropoutMasks:
    """All passes of Saliency DropOut: the summed map > T."""

    def __init__(self, store: MapStore) -> None:
        self.store = store
        self._traces = _Traces(store)

    def __call__(self, index: int, config: SegmenterConfig) -> Tensor:
        """(K, H, W) bool."""
        segmenter = _with(self.store.segmenter, config)
        total = segmenter.sum_maps(self._traces(index, segmenter))
        return binary_masks(on_threshold_scale(total, config), config.threshold, self.store.photo(index).shape[:2])


class FinishedMasks:
    """The labels of the whole pipeline, refined as `config.refine` says; the image's own classes compete."""

    def __init__(self, store: MapStore) -> None:
        self.store = store
        self._traces = _Traces(store)

    def __call__(self, index: int, config: SegmenterConfig) -> Tensor:
        """(K, H, W) bool."""
        segmenter = _with(self.store.segmenter, config)
        labels = torch.from_numpy(segmenter.label(self._traces(index, segmenter)).labels.astype(np.int32))
        return torch.stack([labels == label for label in range(1, len(self.store.images[index].class_names) + 1)])


def _with(segmenter: Segmenter, config: SegmenterConfig) -> Segmenter:
    """The store's segmenter with the settings of `config` that `look` and `label` read."""
    names = [*segmenter.config.differing(config, "look"), *segmenter.config.differing(config, "label")]
    return segmenter.replace(**{name: getattr(config, name) for name in names})
