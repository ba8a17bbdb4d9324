"""Pascal VOC 2012 in its own layout: 20 object classes and background."""

from pathlib import Path

from pnp_ovss.datasets.base import Dataset, Sample
from pnp_ovss.datasets.masks import IndexedMask, LabelTable, label_table
from pnp_ovss.datasets.pictures import PictureFolder, read_ids, require_any, require_folder
from pnp_ovss.datasets.vocabulary import get_vocabulary
from pnp_ovss.photo_files import LeftOut

LAYOUT = (
    "expected ROOT/JPEGImages/ID.jpg, ROOT/SegmentationClass/ID.png (or SegmentationClassAug), "
    "ROOT/ImageSets/Segmentation/SPLIT.txt"
)
_BASES = ("JPEGImages", "VOC2012/JPEGImages", "VOCdevkit/VOC2012/JPEGImages")
_MASK_FOLDERS = ("SegmentationClass", "SegmentationClassAug")


def voc_samples(
    base: Path, folder: Path, split: str, table: LabelTable, layout: str, *, lists: str = "Segmentation"
) -> tuple[tuple[Sample, ...], LeftOut]:
    """The samples of a VOC tree listed in ImageSets/LISTS/SPLIT.txt or, for the split `all`, every mask; and what was left out.

    folder: of the masks. Raises DatasetError with the layout.
    """
    images, masks = PictureFolder(base / "JPEGImages"), PictureFolder(folder, usual=".png")
    if split == "all":
        ids = tuple(masks.all())
        require_any(masks.all(), folder, "masks", layout)
    else:
        ids = read_ids(base / "ImageSets" / lists / f"{split}.txt", images, layout)
    photos = images.require(ids, "images", layout)
    truth = masks.require(ids, "masks", layout)
    samples = (Sample(id, photos[id], IndexedMask(truth[id], table, photos[id], "voc")) for id in ids)
    return tuple(samples), masks.left_out


def open_voc(root: Path, *, split: str = "val", masks: str | None = None) -> Dataset:
    """Pascal VOC 2012: mask value 0 is background, 1-20 the classes, 255 void.

    `root` is the folder VOC2012 or one that holds it. `split` names a list file, or is `all` for every mask
    in the folder. `masks` names the mask folder; without it, SegmentationClass if it is there, otherwise
    SegmentationClassAug. Raises DatasetError with the expected layout.
    """
    base = require_folder(root, _BASES, LAYOUT).parent
    folder = require_folder(base, (masks,) if masks else _MASK_FOLDERS, LAYOUT)
    table = label_table({value: value for value in range(21)}, void=(255,))
    samples, left_out = voc_samples(base, folder, split, table, LAYOUT)
    notes = (f"split {split}", f"masks from {folder.name}")
    return Dataset("voc", get_vocabulary("voc20"), True, samples, notes, left_out=left_out)
