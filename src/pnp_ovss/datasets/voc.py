"""Pascal VOC 2012 in its own layout: 20 object classes and background."""

from dataclasses import dataclass
from pathlib import Path

from pnp_ovss.datasets.base import Dataset, Sample, find_images, read_ids, require_files, require_folder
from pnp_ovss.datasets.masks import IndexedMask, LabelTable, label_table
from pnp_ovss.datasets.vocabulary import load_vocabulary
from pnp_ovss.errors import DatasetError

LAYOUT = (
    "expected ROOT/JPEGImages/ID.jpg, ROOT/SegmentationClass/ID.png (or SegmentationClassAug), "
    "ROOT/ImageSets/Segmentation/SPLIT.txt"
)
_BASES = ("JPEGImages", "VOC2012/JPEGImages", "VOCdevkit/VOC2012/JPEGImages")
_MASK_FOLDERS = ("SegmentationClass", "SegmentationClassAug")


@dataclass(frozen=True)
class VocTree:
    """A tree in the VOC layout, which Pascal Context shares, and the sentence that describes it."""

    images: Path
    masks: Path
    lists: Path
    layout: str

    def samples(self, split: str, table: LabelTable) -> tuple[Sample, ...]:
        """The samples listed in SPLIT.txt or, for the split `all`, every mask of the folder."""
        ids = self._all_ids() if split == "all" else read_ids(self.lists / f"{split}.txt", self.layout)
        images = {id: self.images / f"{id}.jpg" for id in ids}
        masks = {id: self.masks / f"{id}.png" for id in ids}
        require_files(images, "images", self.layout)
        require_files(masks, "masks", self.layout)
        return tuple(Sample(id, images[id], IndexedMask(masks[id], table)) for id in ids)

    def _all_ids(self) -> tuple[str, ...]:
        ids = tuple(find_images(self.masks))
        if not ids:
            raise DatasetError(f"{self.masks} holds no masks; {self.layout}")
        return ids


def open_voc(root: Path, *, split: str = "val", masks: str | None = None) -> Dataset:
    """Pascal VOC 2012: mask value 0 is background, 1-20 the classes, 255 void.

    `root` is the folder VOC2012 or one that holds it. `split` names a list file, or is `all` for every mask
    in the folder. `masks` names the mask folder; without it, SegmentationClass if it is there, otherwise
    SegmentationClassAug. Raises DatasetError with the expected layout.
    """
    base = require_folder(root, _BASES, LAYOUT).parent
    folder = require_folder(base, (masks,) if masks else _MASK_FOLDERS, LAYOUT)
    tree = VocTree(base / "JPEGImages", folder, base / "ImageSets/Segmentation", LAYOUT)
    samples = tree.samples(split, label_table({value: value for value in range(21)}, void=(255,)))
    notes = (f"split {split}", f"masks from {folder.name}")
    return Dataset("voc", load_vocabulary("voc20"), True, samples, notes)
