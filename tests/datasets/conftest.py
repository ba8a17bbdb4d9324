"""Tiny data sets, written by the tests in every layout that the readers know."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HEIGHT, WIDTH = 6, 8


class Trees:
    """Writes data sets of one or two 6 x 8 images into `root` and returns it."""

    height, width = HEIGHT, WIDTH

    def __init__(self, root: Path) -> None:
        self.root = root

    def image(self, path: str, height: int = HEIGHT, width: int = WIDTH) -> None:
        target = self._target(path)
        Image.new("RGB", (width, height), (90, 120, 150)).save(target)

    def mask(self, path: str, *values: int, mode: str = "L") -> None:
        """A mask whose columns hold the values, repeated to its width."""
        array = np.tile(np.resize(np.array(values, dtype=np.uint8), WIDTH), (HEIGHT, 1))
        mask = Image.fromarray(array)
        if mode == "P":
            mask.putpalette([value // 3 for value in range(768)])
        mask.save(self._target(path))

    def text(self, path: str, content: str) -> None:
        self._target(path).write_text(content, encoding="utf-8")

    def voc(self, masks: str = "SegmentationClass") -> Path:
        for id, values in {"2007_000001": (0, 1, 255), "2007_000002": (0, 20)}.items():
            self.image(f"JPEGImages/{id}.jpg")
            self.mask(f"{masks}/{id}.png", *values, mode="P")
        self.text("ImageSets/Segmentation/val.txt", "2007_000002\n2007_000001\n\n")
        self.text("ImageSets/Segmentation/train.txt", "2007_000001\n")
        return self.root

    def context(self) -> Path:
        self.image("JPEGImages/2008_000001.jpg")
        self.mask("SegmentationClassContext/2008_000001.png", 0, 1, 2, 59)
        self.text("ImageSets/SegmentationContext/val.txt", "2008_000001\n")
        return self.root

    def ade(self) -> Path:
        self.image("images/validation/ADE_val_00000001.jpg")
        self.mask("annotations/validation/ADE_val_00000001.png", 0, 1, 150)
        return self.root

    def stuff(self) -> Path:
        """Person, toothbrush, banner, wood and unlabelled pixels as category id - 1."""
        self.image("val2017/000000000009.jpg")
        self.mask("stuffthingmaps/val2017/000000000009.png", 0, 89, 91, 181, 255)
        return self.root

    def stuff_train_ids(self) -> Path:
        """The same as training ids, in the folders of mmsegmentation."""
        self.image("images/val2017/000000000009.jpg")
        self.mask("annotations/val2017/000000000009_labelTrainIds.png", 0, 79, 80, 170, 255)
        return self.root

    def coco(self, document: dict | None = None) -> Path:
        for id in ("000000000007", "000000000009"):
            self.image(f"val2017/{id}.jpg")
        self.text("annotations/instances_val2017.json", json.dumps(document or coco_document()))
        return self.root

    def folder(self, toml: str) -> Path:
        self.image("images/a.jpg")
        self.image("images/b.png")
        self.mask("masks/a.png", 0, 1, 2)
        self.mask("masks/b.png", 2, 9)
        self.text("dataset.toml", toml)
        return self.root

    def _target(self, path: str) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target


def coco_document() -> dict:
    """Two images: a large dining table with a small cup on it and a crowd; and one without instances."""
    segmentations = {
        47: [[2, 2, 4, 2, 4, 4, 2, 4]],
        67: [[0, 1, 7, 1, 7, 6, 0, 6]],
        1: {"size": [HEIGHT, WIDTH], "counts": [36, 12]},  # the two last columns
    }
    return {
        "images": [
            {"id": 9, "file_name": "000000000009.jpg", "height": HEIGHT, "width": WIDTH},
            {"id": 7, "file_name": "000000000007.jpg", "height": HEIGHT, "width": WIDTH},
        ],
        "categories": [
            {"id": 1, "name": "person"},
            {"id": 47, "name": "cup"},
            {"id": 67, "name": "dining table"},
        ],
        "annotations": [
            {"id": id, "image_id": 9, "category_id": id, "segmentation": shape, "iscrowd": int(id == 1)}
            for id, shape in segmentations.items()
        ],
    }


@pytest.fixture
def trees(tmp_path) -> Trees:
    return Trees(tmp_path)


@pytest.fixture
def document() -> dict:
    return coco_document()
