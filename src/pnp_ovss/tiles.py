"""Big photos: windows of the model's input size beside the whole photo, their maps blended before anything is decided (ours).

The whole photo, shrunk to the model's input, says what is there and roughly where; a window shows what is too small for that.
A class competes where the whole photo or the window finds it. Maps are blended with weights that fall to the windows' rims,
so no window's border can be seen. Which of two classes has a place is decided by what each window says of it, its share of
the class's mass there and how sure it is: over the whole photo a class with many things would have little mass at each.
Thin over `prepare`, `look`, `label`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pnp_ovss.automatic import asked_classes
from pnp_ovss.classes import Classes, ClassNames
from pnp_ovss.clock import Clock
from pnp_ovss.competition import Scored, compete, masses
from pnp_ovss.config import SegmenterConfig
from pnp_ovss.gradcam import competitors
from pnp_ovss.images import ImageSource, read_image
from pnp_ovss.provenance import recorded
from pnp_ovss.refiners.windowed import Windowed
from pnp_ovss.segmentation import Segmentation
from pnp_ovss.segmenter import Segmenter
from pnp_ovss.trace import Prepared, Trace

AUTO_MEGAPIXELS = 24
"""Photos above this are segmented in windows unless it is said otherwise."""
MOST = 8
"""Windows along the longer side at most; where smaller ones would be more, they are larger and shrunk."""
OVERLAP = 0.25
"""Share of a window's side that it has in common with its neighbour."""

Track = Callable[[Sequence["Window"]], Iterable["Window"]]


@dataclass(frozen=True)
class Window:
    """A part of the photo. pixels: its rows and columns in px; cells: those in the grid of blended maps."""

    pixels: tuple[slice, slice]
    cells: tuple[slice, slice]


@dataclass(frozen=True)
class Plan:
    """Windows over a photo of any size. size: (G_h, G_w) of the blended maps. side_px: of a window."""

    windows: tuple[Window, ...]
    size: tuple[int, int]
    side_px: int


def is_large(size: tuple[int, int]) -> bool:
    """Whether a (H, W) photo is segmented in windows by itself."""
    return size[0] * size[1] > AUTO_MEGAPIXELS * 1_000_000


def segment_any(
    segmenter: Segmenter, photo: np.ndarray, classes: ClassNames, tiles: bool | None, **options: Any
) -> Segmentation:
    """A photo (H, W, 3) as it is, or in windows: where `tiles` says so or, for None, where it `is_large`."""
    size = (photo.shape[0], photo.shape[1])
    wanted = is_large(size) if tiles is None else tiles
    return segment_tiled(segmenter, photo, classes, **options) if wanted else segmenter(photo, classes, **options)


def plan_windows(size: tuple[int, int], size_px: int, patches: int) -> Plan:
    """Windows of `size_px` px, of `patches` cells a side, over a (H, W) photo; larger ones where they would be too many.

    >>> plan = plan_windows((1000, 1000), 448, 28)
    >>> len(plan.windows), plan.size, plan.side_px
    (9, (62, 62), 448)
    """
    longest = math.ceil(max(size) / (1 + (MOST - 1) * (1 - OVERLAP)))
    side_px = max(size_px, longest)
    cell_px = side_px / patches
    grid = (max(1, round(size[0] / cell_px)), max(1, round(size[1] / cell_px)))
    rows, columns = (_axis(pixels, cells, patches) for pixels, cells in zip(size, grid, strict=True))
    windows = tuple(Window((y, x), (i, j)) for y, i in rows for x, j in columns)
    return Plan(windows, grid, side_px)


def _axis(pixels: int, cells: int, patches: int) -> list[tuple[slice, slice]]:
    """(pixels, cells) of the windows along one axis."""
    most = min(patches, cells)
    count = math.ceil((cells - most) / (patches * (1 - OVERLAP))) + 1
    starts = np.linspace(0, cells - most, count).round().astype(int).tolist()
    scale = pixels / cells
    return [(slice(round(s * scale), round((s + most) * scale)), slice(s, s + most)) for s in starts]


def segment_tiled(
    segmenter: Segmenter,
    image: ImageSource,
    class_names: ClassNames,
    *,
    keep: Sequence[str] | None = None,
    image_name: str | None = None,
    track: Track = iter,
) -> Segmentation:
    """Segment a big photo. The arguments and errors are those of `Segmenter.prepare`; track: wraps the windows.

    The provenance counts the windows. Blurs, shares of the longer side, are taken of a window's.
    """
    clock, classes, photo = Clock(), asked_classes(class_names), read_image(image, web=True)
    config = segmenter.config
    plan = plan_windows((photo.shape[0], photo.shape[1]), config.size_px, config.size_px // segmenter.vlm.patch_px)
    name = image_name or (str(image) if isinstance(image, str) or hasattr(image, "__fspath__") else "")

    def look(part: np.ndarray, names: Classes) -> Trace:
        trace = segmenter.look(segmenter.prepare(part, names, keep=keep, image_name=name))
        return competitors(segmenter.vlm, trace, config)

    with clock("whole photo"):
        whole = look(photo, classes)
        classes = Classes(map(tuple, whole.prepared.classes))
    with clock("windows"):
        blend = _Blend(segmenter, plan.size, len(whole.prepared.match_scores))
        for window in track(plan.windows):
            blend.add(look(photo[window.pixels], classes), window)
    result = _label(segmenter, blend, whole, plan, photo)
    provenance = replace(result.provenance, config=recorded(config), tiles=len(plan.windows))
    return replace(result, provenance=provenance, seconds={**clock.seconds, **result.seconds})


class _Blend:
    """What all windows say, on one grid, with weights that fall to the windows' rims, and the best match of each class.

    Of each class two maps: where it is, and its shares, by which it competes. count: classes and rivals.
    """

    def __init__(self, segmenter: Segmenter, size: tuple[int, int], count: int) -> None:
        self._segmenter = segmenter
        self._sum, self._weight = torch.zeros(2, count, *size), torch.zeros(size)
        self.names: dict[int, str] = {}
        self.scores: list[float | None] = [None] * count

    def add(self, trace: Trace, window: Window) -> None:
        """Take a window's maps; classes that it did not find have none there."""
        rows, columns = window.cells
        size = (rows.stop - rows.start, columns.stop - columns.start)
        weight = _ramp(size[0])[:, None] * _ramp(size[1])
        self._weight[rows, columns] += weight
        for index, maps in self.maps_of(trace, size):
            self._sum[:, index, rows, columns] += maps * weight

    def maps_of(self, trace: Trace, size: tuple[int, int]) -> Iterator[tuple[int, Tensor]]:
        """(class, map and shares (2, h, w)) of what a trace found, comparable between traces; notes its matches."""
        prepared, config = trace.prepared, self._segmenter.config
        self.names |= {i: prepared.names[rows[0]] for i, rows in zip(prepared.kept, prepared.groups, strict=True)}
        self.scores = [_larger(a, b) for a, b in zip(self.scores, prepared.match_scores, strict=True)]
        total = self._segmenter.sum_maps(trace).cpu()
        shares = masses(total) * total.shape[1] * total.shape[2]  # 1 where a class is spread evenly, whatever the cells
        if weights := prepared.weights(config):
            shares = shares * torch.tensor(weights)[:, None, None]
        if _is_relative(config):  # only how a map is spread counts, so that peaks of all windows are one
            total = total / total.amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(total.dtype).tiny)
        if len(total):
            both = torch.stack([total, shares], dim=1)
            yield from zip(prepared.kept, F.interpolate(both, size, mode="bilinear", align_corners=False), strict=True)

    def with_whole(self, whole: Trace) -> Tensor:
        """(2, classes, G_h, G_w): what the windows say, and for what the whole photo found the mean with its own."""
        blended = self._sum / self._weight
        for index, maps in self.maps_of(whole, (blended.shape[2], blended.shape[3])):
            blended[:, index] = (blended[:, index] + maps) / 2
        return blended


def _label(segmenter: Segmenter, blend: _Blend, whole: Trace, plan: Plan, photo: np.ndarray) -> Segmentation:
    """Steps 10 to 14 on the blended maps, the refiner in windows."""
    (total, shares), config = blend.with_whole(whole), segmenter.config
    kept = tuple(sorted(blend.names))
    names, groups = tuple(blend.names[index] for index in kept), tuple((row,) for row in range(len(kept)))
    share = min(1.0, plan.side_px / max(photo.shape[:2]))
    blurs = {"blur": config.blur * share, "share_blur": config.share_blur * share}
    local = config.replace(**blurs, look_alikes=1.0)  # each window chose among its own
    found = {"kept": kept, "names": names, "groups": groups, "match_scores": tuple(blend.scores), "matches": ()}
    prepared = replace(whole.prepared, image=photo, **found)
    labeller = _Blended(segmenter, local, total[list(kept)], shares)
    return labeller.label(replace(whole, prepared=prepared))


class _Blended(Segmenter):
    """A segmenter whose summed maps are there already, and the shares of all classes by which they compete."""

    def __init__(self, segmenter: Segmenter, config: SegmenterConfig, total: Tensor, shares: Tensor) -> None:
        super().__init__(
            segmenter.vlm, config, refiner=Windowed(segmenter.refiner), policy=segmenter.policy,
            presence=segmenter.presence, method=segmenter.method,
        )  # fmt: skip
        self.weights, self._total, self._shares = segmenter.weights, total, shares

    def sum_maps(self, trace: Trace) -> Tensor:  # noqa: ARG002
        """The maps that were blended."""
        return self._total if len(self._total) else torch.zeros(0, 1, 1)

    def compete(self, total: Tensor, size: tuple[int, int], prepared: Prepared) -> Scored:
        """By the blended shares of the classes that compete."""
        return compete(total, size, self.config, shares=self._shares[list(prepared.kept)])


def _is_relative(config: SegmenterConfig) -> bool:
    """Whether T is compared with a min-max of the maps, so that their scale says nothing."""
    return config.competition == "equal_mass" or config.accumulate == "raw"


def _ramp(cells: int) -> Tensor:
    """(cells,) weights along an axis, highest in the middle, lowest at both rims, above 0."""
    place = torch.arange(cells) + 0.5
    return torch.minimum(place, cells - place)


def _larger(a: float | None, b: float | None) -> float | None:
    return max((score for score in (a, b) if score is not None), default=None)
