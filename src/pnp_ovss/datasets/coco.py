"""COCO 2017: Object-80 drawn from the instance annotations, and Stuff-171 from the label pictures."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pnp_ovss.datasets.base import VOID, Dataset, Labels, Sample, find_images, require_files, require_folder
from pnp_ovss.datasets.masks import IndexedMask, LabelTable, label_table
from pnp_ovss.datasets.vocabulary import Vocabulary, load_vocabulary
from pnp_ovss.errors import ClassNameError, DatasetError
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
    instance covers them.
    """

    height: int
    width: int
    annotations: tuple[tuple[int, bool, Any], ...]
    """(label, crowd, segmentation) of each instance."""

    def __call__(self) -> Labels:
        labels = np.zeros((self.height, self.width), dtype=np.int32)
        drawn = [
            (crowd, rasterise(segmentation, self.height, self.width), label)
            for label, crowd, segmentation in self.annotations
        ]
        for crowd, mask, label in sorted(drawn, key=lambda item: (not item[0], -int(item[1].sum()))):
            labels[mask] = VOID if crowd else label
        return labels


def open_coco_object(root: Path, *, split: str = "val2017") -> Dataset:
    """COCO Object-80: the instances of the 80 things, everything else background, crowds void.

    Images without any instance belong to it. Raises DatasetError with the expected layout.
    """
    folder = require_folder(root, (split, f"images/{split}"), OBJECT_LAYOUT)
    vocabulary = load_vocabulary("coco_object80")
    images, annotations = _read_instances(root / "annotations" / f"instances_{split}.json", vocabulary)
    paths = {image["file_name"]: folder / image["file_name"] for image in images}
    require_files(paths, "images", OBJECT_LAYOUT)
    samples = tuple(
        Sample(
            Path(image["file_name"]).stem,
            paths[image["file_name"]],
            InstanceLabels(image["height"], image["width"], tuple(annotations.get(image["id"], ()))),
        )
        for image in images
    )
    notes = (f"split {split}", "overlaps: the smaller instance wins; crowds are void")
    return Dataset("coco-object", vocabulary, True, samples, notes)


def open_coco_stuff(root: Path, *, split: str = "val2017") -> Dataset:
    """COCO Stuff-171: 80 things and 91 stuff classes, unlabelled pixels void.

    The masks are the original label pictures (value = category id - 1, 255 unlabelled) or, with the suffix
    `_labelTrainIds`, mmsegmentation's (0-170 in class order, 255 unlabelled); a folder with both uses the
    latter. Raises DatasetError with the expected layout.
    """
    images = require_folder(root, (split, f"images/{split}"), STUFF_LAYOUT)
    folder = require_folder(root, (f"stuffthingmaps/{split}", f"annotations/{split}"), STUFF_LAYOUT)
    masks, table, form = _stuff_masks(folder)
    paths = {id: images / f"{id}.jpg" for id in masks}
    require_files(paths, "images", STUFF_LAYOUT)
    samples = tuple(Sample(id, paths[id], IndexedMask(masks[id], table)) for id in masks)
    notes = (f"split {split}", f"mask values: {form}")
    return Dataset("coco-stuff", load_vocabulary("coco_stuff171"), False, samples, notes)


def _stuff_masks(folder: Path) -> tuple[dict[str, Path], LabelTable, str]:
    masks = find_images(folder)
    trained = {id.removesuffix(_TRAIN_IDS): path for id, path in masks.items() if id.endswith(_TRAIN_IDS)}
    if trained:
        return trained, label_table({value: value + 1 for value in range(171)}, void=(255,)), "training ids"
    plain = {id: path for id, path in masks.items() if "_" not in id}  # not *_instanceTrainIds
    if not plain:
        raise DatasetError(f"{folder} holds no masks; {STUFF_LAYOUT}")
    classes = {id - 1: label for label, id in enumerate((*THING_IDS, *STUFF_IDS), start=1)}
    return plain, label_table(classes, void=(255,)), "category id - 1"


def _read_instances(path: Path, vocabulary: Vocabulary) -> tuple[list[dict], dict[int, list]]:
    """Images sorted by id, and per image id its annotations in file order as InstanceLabels takes them."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        labels = {entry["id"]: vocabulary.label(entry["name"]) for entry in document["categories"]}
        images = sorted(document["images"], key=lambda image: image["id"])
        annotations: dict[int, list] = {image["id"]: [] for image in images}
        for entry in document["annotations"]:
            item = (labels[entry["category_id"]], bool(entry.get("iscrowd", 0)), entry["segmentation"])
            annotations[entry["image_id"]].append(item)
        if any({"file_name", "height", "width"} - image.keys() for image in images):
            raise KeyError("file_name, height or width of an image")
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DatasetError(f"cannot read {path}: {error}; {OBJECT_LAYOUT}") from None
    except (KeyError, TypeError, ClassNameError) as error:
        raise DatasetError(f"{path} is no COCO instances file (missing or unknown: {error})") from None
    if not images:
        raise DatasetError(f"{path} lists no images")
    return images, annotations
