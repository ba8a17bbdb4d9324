"""ADE20K scene parsing: 150 object and stuff classes, no background."""

from pathlib import Path

from pnp_ovss.datasets.base import Dataset, Sample
from pnp_ovss.datasets.masks import IndexedMask, label_table
from pnp_ovss.datasets.pictures import PictureFolder, require_any, require_folder
from pnp_ovss.datasets.vocabulary import get_vocabulary

LAYOUT = "expected ROOT/images/SPLIT/ID.jpg and ROOT/annotations/SPLIT/ID.png (SPLIT: validation or training)"

_REDUCED = "; 255 stands only in masks whose values were already reduced by one: use the original ones"


def open_ade20k(root: Path, *, split: str = "validation") -> Dataset:
    """ADE20K-150: mask values 1-150 are the classes, 0 (other objects) is void ("reduce zero label").

    `root` is the folder ADEChallengeData2016 or one that holds it. `split` is `validation`, `training`, or
    `all` for a tree without split folders (ROOT/images/ID.jpg, ROOT/annotations/ID.png). Raises
    DatasetError.
    """
    base = require_folder(root, ("annotations", "ADEChallengeData2016/annotations"), LAYOUT).parent
    part = "" if split == "all" else split
    truth = PictureFolder(require_folder(base, (f"annotations/{part}",), LAYOUT))
    masks = truth.all()
    require_any(masks, base / "annotations" / part, "masks", LAYOUT)
    photos = PictureFolder(base / "images" / part).require(masks, "images", LAYOUT)
    table = label_table({value: value for value in range(1, 151)}, void=(0,))
    samples = tuple(Sample(id, photos[id], IndexedMask(masks[id], table, photos[id], hint=_REDUCED)) for id in masks)
    notes = (f"split {split}", "mask value 0 is void")
    return Dataset("ade20k", get_vocabulary("ade150"), False, samples, notes, left_out=truth.left_out)
