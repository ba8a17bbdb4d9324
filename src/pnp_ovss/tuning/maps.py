"""Every layer's and head's class maps of a set of tagged photos, from one forward and one backward pass per photo.

The maps are written to disk in float16 and read back memory-mapped, so that any number of trials shares them
and memory stays small.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pnp_ovss.config import SegmenterConfig
from pnp_ovss.datasets.base import TaggedImage
from pnp_ovss.errors import ConfigError
from pnp_ovss.files import writing
from pnp_ovss.images import limited_size, read_image, resize_to
from pnp_ovss.saliency import minmax
from pnp_ovss.segmenter import Segmenter
from pnp_ovss.trace import Prepared
from pnp_ovss.vlms.base import Head, VisionLanguageModel
from pnp_ovss.words import counted

PHOTO_PX = 512
"""Photos are kept at this longer side unless the model's input needs more: a scorer squashes them to 336 px or so."""
MAX_GB = 4.0
"""What a store may write."""


class MapStore:
    """Photos and all their maps in a folder, built once, read by all trials.

    images: tagged photos. config: size, template and gradient are used. folder: an empty or new folder.
    `seconds` is what the maps took. Raises ConfigError when more than MAX_GB would be written.
    """

    def __init__(
        self,
        vlm: VisionLanguageModel,
        images: Sequence[TaggedImage],
        config: SegmenterConfig,
        folder: Path,
    ) -> None:
        self.vlm = vlm
        self.images = tuple(images)
        self.config = config
        self.folder = folder
        self.seconds = 0.0
        self.segmenter = Segmenter(vlm, config.replace(policy="all"))  # the tags say which classes compete
        _check_size(self.images, vlm, config)

    def build(self, track: Callable[[Iterable[int]], Iterable[int]] = iter) -> MapStore:
        """Compute and write the photos and maps; `track` wraps the indices for a progress bar. Returns itself."""
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for index in track(range(len(self.images))):
                np.save(self._path(index, "photo"), self._shrunk(read_image(self.images[index].path)))
                start = time.perf_counter()
                self._write_maps(index)
                self.seconds += time.perf_counter() - start
        return self

    def photo(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8, reduced to PHOTO_PX or to what the model's input needs, if that is more."""
        return np.load(self._path(index, "photo"), mmap_mode="r")

    def maps(self, index: int, layer: int, head: Head) -> Tensor:
        """(K, P_h, P_w) float32 in [0, 1] of one photo, layer and head (both from 1), or the mean over heads."""
        stored = np.load(self._path(index, "maps"), mmap_mode="r")
        row = self.vlm.heads if head == "mean" else head - 1
        return torch.from_numpy(stored[self.vlm.layers.index(layer), row].astype(np.float32))

    def _shrunk(self, photo: np.ndarray) -> np.ndarray:
        """The photo with a longer side of PHOTO_PX, or with the model's input side as its shorter one."""
        shorter, longer = sorted(photo.shape[:2])
        longest = max(PHOTO_PX, round(self.config.size_px * longer / shorter))
        return resize_to(photo, limited_size(photo.shape[:2], longest))

    def prepared(self, index: int, segmenter: Segmenter) -> Prepared:
        """A photo and its own classes, all of which may win."""
        names = self.images[index].class_names
        return segmenter.prepare(
            np.asarray(self.photo(index)), names, keep=names, image_name=self.images[index].path.name
        )

    def _write_maps(self, index: int) -> None:
        found = self.segmenter.look_all(self.prepared(index, self.segmenter))
        maps = torch.stack([minmax(trace.passes[0].maps) for trace in found.values()])
        shape = (len(self.vlm.layers), self.vlm.heads + 1, *maps.shape[1:])
        np.save(self._path(index, "maps"), maps.reshape(shape).cpu().numpy().astype(np.float16))

    def _path(self, index: int, kind: str) -> Path:
        return self.folder / f"{index:06d}.{kind}.npy"


def _check_size(images: Sequence[TaggedImage], vlm: VisionLanguageModel, config: SegmenterConfig) -> None:
    side = config.size_px
    patches = (side // vlm.patch_px) ** 2
    maps = sum(len(image.class_names) for image in images) * len(vlm.layers) * (vlm.heads + 1) * patches * 2
    needed = (maps + len(images) * max(PHOTO_PX, side) ** 2 * 3) / 1e9
    if needed > MAX_GB:
        raise ConfigError(
            f"the maps of {counted(len(images), 'image')} at {side} px need {needed:.1f} GB, more than {MAX_GB:g}; "
            "give fewer images (50 were enough for the pocket model) or a smaller size_px"
        )
