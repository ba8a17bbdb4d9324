"""A look at a data set before any number is believed: counts, faults, and a contact sheet."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pnp_ovss.datasets.base import VOID, Dataset, Labels, Sample, UnknownLabelError
from pnp_ovss.errors import DatasetError, ImageError
from pnp_ovss.images import read_image
from pnp_ovss.pictures.palette import paint, palette
from pnp_ovss.pictures.sheet import beside, fitted, on_white, stacked
from pnp_ovss.words import counted

_TILE_PX = 200
_LEGEND_PX = 13
_LEGEND_LINES = 6


@dataclass(frozen=True)
class DatasetCheck:
    """What `check_dataset` found."""

    name: str
    images: int
    masks: int
    """Masks that could be read."""
    images_per_class: tuple[int, ...]
    """In how many images each label 0..C occurs."""
    pixel_shares: tuple[float, ...]
    """Share of the pixels with ground truth that each label 0..C has."""
    void_share: float
    """Share of all pixels that are void."""
    unknown_values: dict[int, int]
    """Mask value that is no class -> number of images it occurs in."""
    faults: tuple[str, ...]
    """One line for every sample that could not be used."""

    @property
    def ok(self) -> bool:
        """Whether every sample can be used."""
        return not self.faults

    @property
    def classes(self) -> int:
        """How many classes occur, background not counted."""
        return sum(count > 0 for count in self.images_per_class[1:])


def check_dataset(dataset: Dataset) -> DatasetCheck:
    """Read every mask and every image, as an evaluation does; faults are collected, not raised."""
    pixels = np.zeros(len(dataset.vocabulary) + 1, dtype=np.int64)
    occurs = np.zeros_like(pixels)
    void, unknown = 0, Counter[int]()
    faults = list(dataset.faults)
    masks = 0
    for sample in dataset:
        try:
            labels, size = sample.labels(), _read(sample.image).shape[:2]
        except UnknownLabelError as error:
            masks += 1
            unknown.update(error.values)
            faults.append(str(error))
            continue
        except DatasetError as error:
            faults.append(str(error))
            continue
        masks += 1
        if size != labels.shape:
            mask, image = f"{labels.shape[0]} x {labels.shape[1]}", f"{size[0]} x {size[1]}"
            faults.append(f"{sample.id}: the mask is {mask} and its image {image} (height x width)")
        counts = np.bincount(labels[labels != VOID], minlength=len(pixels))
        pixels += counts
        occurs += counts > 0
        void += int((labels == VOID).sum())
    return DatasetCheck(
        name=dataset.name,
        images=len(dataset),
        masks=masks,
        images_per_class=tuple(occurs.tolist()),
        pixel_shares=tuple((pixels / max(pixels.sum(), 1)).tolist()),
        void_share=void / max(void + int(pixels.sum()), 1),
        unknown_values=dict(sorted(unknown.items())),
        faults=tuple(faults),
    )


def first_classes(dataset: Dataset, count: int = 50) -> str:
    """One line with the classes found in the first masks and in how many of them each: a look before a long run."""
    found: Counter[str] = Counter()
    unread = 0
    names = ("background", *dataset.names)
    samples = dataset.samples[:count]
    for sample in samples:
        try:
            labels = sample.labels()
        except DatasetError:  # a record of its own when the run comes to it
            unread += 1
            continue
        found.update(names[label] for label in np.unique(labels[labels != VOID]).tolist())
    listed = ", ".join(f"{name} {number}" for name, number in found.most_common(12))
    more = f", {len(found) - 12} more" if len(found) > 12 else ""
    failed = f"; {unread} cannot be read" if unread else ""
    return f"classes in the first {counted(len(samples), 'mask')}: {listed or 'none'}{more}{failed}"


def contact_sheet(dataset: Dataset, count: int = 12) -> Image.Image:
    """A picture of `count` samples spread over the data set: image, painted labels, and a legend of the
    classes.

    Void is painted in `VOID_COLOUR`. Raises DatasetError if a shown sample cannot be read.
    """
    count = max(1, min(count, len(dataset)))
    chosen = [dataset[i] for i in np.linspace(0, len(dataset) - 1, count).round().astype(int)]
    tiles = [_tile(sample, dataset.names) for sample in chosen]
    return stacked([beside(tiles[place : place + 3]) for place in range(0, count, 3)])


def _tile(sample: Sample, names: tuple[str, ...]) -> Image.Image:
    labels = sample.labels()
    photo, painted = Image.fromarray(_read(sample.image)), Image.fromarray(paint(labels, len(names)))
    painted = fitted(painted, _TILE_PX, Image.Resampling.NEAREST)
    pair = beside([photo.resize(painted.size, Image.Resampling.BICUBIC), painted], gap_px=2, cell_px=_TILE_PX)
    tile = stacked([pair, _legend(sample.id, labels, names)])
    return on_white(tile, (2 * _TILE_PX + 6, _TILE_PX + (_LEGEND_LINES + 1) * _LEGEND_PX + 6))


def _legend(title: str, labels: Labels, names: tuple[str, ...]) -> Image.Image:
    """The sample's id and its most frequent classes with their colours and label numbers."""
    legend = Image.new("RGB", (2 * _TILE_PX, (_LEGEND_LINES + 1) * _LEGEND_PX + 2), "white")
    draw = ImageDraw.Draw(legend)
    draw.text((2, 0), title, fill="black")
    present, counts = np.unique(labels[(labels > 0) & (labels != VOID)], return_counts=True)
    colours = palette(len(names))
    for place, label in enumerate(present[np.argsort(-counts)][: 3 * _LEGEND_LINES]):
        x = 2 + place // _LEGEND_LINES * (2 * _TILE_PX // 3)
        y = (1 + place % _LEGEND_LINES) * _LEGEND_PX
        draw.rectangle((x, y + 2, x + 10, y + 11), fill=tuple(colours[label].tolist()))
        draw.text((x + 14, y), f"{label} {names[label - 1]}"[:20], fill="black")
    return legend


def _read(path: Path) -> NDArray[np.uint8]:
    """The photo as whatever segments it reads it. Raises DatasetError if it cannot be read."""
    try:
        return read_image(path)
    except ImageError as error:
        raise DatasetError(f"cannot read the image: {error}") from None
