"""Every layer's and head's class maps of a set of tagged photos, from one forward and one backward pass per photo.

The maps are written to disk in float16 and read back memory-mapped, so that any number of trials shares them
and memory stays small.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pnp_ovss.config import SegmenterConfig
from pnp_ovss.errors import ConfigError, OutputError
from pnp_ovss.images import input_size, limited_size, load_image, normalise_pixels, resize_to, to_pixels
from pnp_ovss.prompt import Prompt, build_prompts
from pnp_ovss.saliency import class_maps, minmax, token_saliency
from pnp_ovss.vlms.base import Head, ImageFeatures, VisionLanguageModel

PHOTO_PX = 512
"""Photos are kept at this longer side at most: a scorer squashes them to 336 px or so anyway."""


@dataclass(frozen=True)
class TaggedImage:
    """A photo and the names of the classes in it: all that tuning knows of it."""

    path: Path
    class_names: tuple[str, ...]


def all_maps(
    vlm: VisionLanguageModel, features: ImageFeatures, names: Sequence[str], config: SegmenterConfig
) -> Tensor:
    """The maps of `raw_maps`, each min-max in [0, 1]."""
    raw = raw_maps(vlm, features, names, config)
    return minmax(raw.flatten(0, 2)).reshape(raw.shape)


def raw_maps(
    vlm: VisionLanguageModel, features: ImageFeatures, names: Sequence[str], config: SegmenterConfig
) -> Tensor:
    """Class maps (layers, heads + 1, K, P_h·P_w) ≥ 0 of one encoded photo, float32 (steps 2-6).

    The text is run once and differentiated once for all layers (`vlm.layers`, in their order) and heads; the last
    map of a layer is the mean over its heads (Table 6).
    """
    prompts = build_prompts(names, config.template, vlm.tokenize, vlm.max_tokens)
    return torch.cat([_prompt_maps(vlm, features, prompt, config) for prompt in prompts], dim=2)


def _prompt_maps(vlm: VisionLanguageModel, features: ImageFeatures, prompt: Prompt, config: SegmenterConfig) -> Tensor:
    found = vlm.attend(features, prompt, layers=vlm.layers, head="mean", gradient=config.gradient)
    chosen = [slice(h, h + 1) for h in range(vlm.heads)] + [slice(None)]
    layers = []
    for a in found:
        tokens = [token_saliency(a.probs[h], None if a.grad is None else a.grad[h]) for h in chosen]
        layers.append(torch.stack([class_maps(t, prompt.spans) for t in tokens]))
    return torch.stack(layers)


class MapStore:
    """Photos and all their maps in a folder, built once, read by all trials.

    images: tagged photos. config: size, template and gradient are used. folder: an empty or new folder.
    `seconds` is what the maps took. Raises ConfigError when more than `max_gb` would be written.
    """

    def __init__(
        self,
        vlm: VisionLanguageModel,
        images: Sequence[TaggedImage],
        config: SegmenterConfig,
        folder: Path,
        *,
        max_gb: float = 4.0,
    ) -> None:
        self.vlm = vlm
        self.images = tuple(images)
        self.config = config
        self.folder = folder
        self.seconds = 0.0
        _check_size(self.images, vlm, config, max_gb)

    def build(self, track: Callable[[Iterable[int]], Iterable[int]] = iter) -> MapStore:
        """Compute and write the photos and maps; `track` wraps the indices for a progress bar. Returns itself."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for index in track(range(len(self.images))):
                photo = load_image(self.images[index].path)
                photo = resize_to(photo, limited_size(photo.shape[:2], PHOTO_PX))
                np.save(self._path(index, "photo"), photo)
                start = time.perf_counter()
                self._write_maps(index, photo)
                self.seconds += time.perf_counter() - start
        except OSError as error:
            raise OutputError(f"cannot write maps to {self.folder}: {error.strerror or error}") from error
        return self

    def photo(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8, longer side at most PHOTO_PX."""
        return np.load(self._path(index, "photo"), mmap_mode="r")

    def maps(self, index: int, layer: int, head: Head) -> Tensor:
        """(K, P_h, P_w) float32 in [0, 1] of one photo, layer and head (both from 1), or the mean over heads."""
        stored = np.load(self._path(index, "maps"), mmap_mode="r")
        row = self.vlm.heads if head == "mean" else head - 1
        return torch.from_numpy(stored[self.vlm.layers.index(layer), row].astype(np.float32))

    def cached(self, index: int, kind: str, compute: Callable[[], np.ndarray]) -> Tensor:
        """A photo's array of this kind as float32, from the folder or computed and written there in float16."""
        path = self._path(index, kind)
        if not path.exists():
            np.save(path, compute().astype(np.float16))
        return torch.from_numpy(np.load(path, mmap_mode="r").astype(np.float32))

    def _write_maps(self, index: int, photo: np.ndarray) -> None:
        pixels = self.pixels(photo)
        features = self.vlm.encode(normalise_pixels(pixels, self.vlm.mean, self.vlm.std))
        maps = all_maps(self.vlm, features, self.images[index].class_names, self.config)
        np.save(self._path(index, "maps"), maps.unflatten(-1, features.grid).cpu().numpy().astype(np.float16))

    def pixels(self, photo: np.ndarray) -> Tensor:
        """A photo as the model's input (3, S_h, S_w) in [0, 1] (method step 1)."""
        size = input_size(*photo.shape[:2], self.config.size_px, self.vlm.size_step_px, self.config.keep_aspect)
        return to_pixels(np.asarray(photo), size)

    def _path(self, index: int, kind: str) -> Path:
        return self.folder / f"{index:06d}.{kind}.npy"


def _check_size(
    images: Sequence[TaggedImage], vlm: VisionLanguageModel, config: SegmenterConfig, max_gb: float
) -> None:
    patches = (config.size_px // vlm.patch_px) ** 2
    maps = sum(len(image.class_names) for image in images) * len(vlm.layers) * (vlm.heads + 1) * patches * 2
    needed = (maps + len(images) * PHOTO_PX * PHOTO_PX * 3) / 1e9
    if needed > max_gb:
        raise ConfigError(
            f"the maps of {len(images)} images at {config.size_px} px need {needed:.1f} GB, more than {max_gb:g}; "
            "give fewer images (50 were enough for the pocket model), a smaller --size or a larger --max-gb"
        )
