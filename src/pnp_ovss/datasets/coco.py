"""COCO 2017: Object-80 drawn from the instance annotations, and Stuff-171 from the label pictures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.datasets.base import VOID, Dataset, Labels, Sample
from pnp_ovss.datasets.coco_json import CocoImage, Instance, read_coco
from pnp_ovss.datasets.masks import IndexedMask, LabelTable, label_table
from pnp_ovss.datasets.pictures import PictureFolder, require_any, require_folder
from pnp_ovss.datasets.turns import upright
from pnp_ovss.datasets.vocabulary import get_vocabulary
from pnp_ovss.errors import DatasetError
from pnp_ovss.masks.rasterise import rasterise

OBJECT_LAYOUT = "expected ROOT/SPLIT/ID.jpg (or ROOT/images/SPLIT) and ROOT/annotations/instances_SPLIT.json"
STUFF_LAYOUT = (
    "expected ROOT/SPLIT/ID.jpg (or ROOT/images/SPLIT) and ROOT/stuffthingmaps/SPLIT/ID.png "
    "(or ROOT/annotations/SPLIT/ID_labelTrainIds.png)"
)
THING_IDS = tuple(sorted(set(range(1, 91)) - {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}))
"""Category ids of the 80 things; the other ten below 91 were never annotated."""
STUFF_IDS = tuple(range(92, 183))
_TRAIN_IDS = "_labelTrainIds"


@dataclass(frozen=True)
class InstanceLabels:
    """Draws the labels of one image from its instances: `InstanceLabels(...)()`.

    The instances are painted from the largest to the smallest, so that the smaller wins where two overlap
    (by the number of pixels drawn; the later annotation on a tie). Crowd regions are `VOID` where no
    instance covers them. They are turned with the photo, and faults name `source` and the image.
    """

    image: CocoImage
    photo: Path
    source: Path

    def __call__(self) -> Labels:
        """Labels (H, W) int32. Raises DatasetError for what cannot be drawn."""
        if self.image.fault:
            raise DatasetError(self.image.fault)
        labels = np.zeros((self.image.height, self.image.width), dtype=np.int32)
        drawn = [(one.crowd, self._draw(one), one.label) for one in self.image.instances]
        for crowd, mask, label in sorted(drawn, key=lambda item: (not item[0], -int(item[1].sum()))):
            labels[mask] = VOID if crowd else label
        return upright(labels, self.photo)

    def _draw(self, one: Instance) -> NDArray[np.bool_]:
        try:
            return rasterise(one.segmentation, self.image.height, self.image.width)
        except DatasetError as error:
            raise DatasetError(f"{self.source}, image {self.image.id}, {one.name}: {error}") from None


def open_coco_object(root: Path, *, split: str = "val2017") -> Dataset:
    """COCO Object-80: the instances of the 80 things, everything else background, crowds void.

    Images without any instance belong to it. Raises DatasetError with the expected layout.
    """
    pictures = PictureFolder(require_folder(root, (split, f"images/{split}"), OBJECT_LAYOUT))
    vocabulary = get_vocabulary("coco_object80")
    path = root / "annotations" / f"instances_{split}.json"
    images, faults = read_coco(path, vocabulary.label, OBJECT_LAYOUT)
    ids = [pictures.id_of(image.file_name) for image in images]
    photos = pictures.require(ids, "images", OBJECT_LAYOUT)
    samples = tuple(
        Sample(id, photos[id], InstanceLabels(image, photos[id], path)) for id, image in zip(ids, images, strict=True)
    )
    notes = (f"split {split}", "overlaps: the smaller instance wins; crowds are void")
    return Dataset("coco-object", vocabulary, True, samples, notes, faults, pictures.left_out)


def open_coco_stuff(root: Path, *, split: str = "val2017") -> Dataset:
    """COCO Stuff-171: 80 things and 91 stuff classes, unlabelled pixels void.

    The masks are the original label pictures (value = category id - 1, 255 unlabelled) or, with the suffix
    `_labelTrainIds`, mmsegmentation's (0-170 in class order, 255 unlabelled); a folder with both uses the
    latter. Raises DatasetError with the expected layout.
    """
    pictures = PictureFolder(require_folder(root, (split, f"images/{split}"), STUFF_LAYOUT))
    folder = require_folder(root, (f"stuffthingmaps/{split}", f"annotations/{split}"), STUFF_LAYOUT)
    masks, table, form = _stuff_masks(folder)
    photos = pictures.require(masks, "images", STUFF_LAYOUT)
    samples = tuple(Sample(id, photos[id], IndexedMask(masks[id], table, photos[id])) for id in masks)
    notes = (f"split {split}", f"mask values: {form}")
    return Dataset("coco-stuff", get_vocabulary("coco_stuff171"), False, samples, notes, left_out=pictures.left_out)


def _stuff_masks(folder: Path) -> tuple[dict[str, Path], LabelTable, str]:
    trained = PictureFolder(folder, suffix=_TRAIN_IDS).all()
    if trained:
        return trained, label_table({value: value + 1 for value in range(171)}, void=(255,)), "training ids"
    masks = PictureFolder(folder).all()
    plain = {id: path for id, path in masks.items() if "_" not in path.stem}  # not *_instanceTrainIds
    require_any(plain, folder, "masks", STUFF_LAYOUT)
    classes = {id - 1: label for label, id in enumerate((*THING_IDS, *STUFF_IDS), start=1)}
    return plain, label_table(classes, void=(255,)), "category id - 1"
