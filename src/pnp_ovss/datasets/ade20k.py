"""ADE20K scene parsing: 150 object and stuff classes, no background."""

from pathlib import Path

from pnp_ovss.datasets.base import Dataset, Sample, find_images, require_files, require_folder
from pnp_ovss.datasets.masks import IndexedMask, label_table
from pnp_ovss.datasets.vocabulary import load_vocabulary
from pnp_ovss.errors import DatasetError

LAYOUT = "expected ROOT/images/SPLIT/ID.jpg and ROOT/annotations/SPLIT/ID.png (SPLIT: validation or training)"


def open_ade20k(root: Path, *, split: str = "validation") -> Dataset:
    """ADE20K-150: mask values 1-150 are the classes, 0 (other objects) is void ("reduce zero label").

    `root` is the folder ADEChallengeData2016 or one that holds it. `split` is `validation`, `training`, or
    `all` for a tree without split folders (ROOT/images/ID.jpg, ROOT/annotations/ID.png). Raises
    DatasetError.
    """
    base = require_folder(root, ("annotations", "ADEChallengeData2016/annotations"), LAYOUT).parent
    part = "" if split == "all" else split
    masks = find_images(require_folder(base, (f"annotations/{part}",), LAYOUT))
    if not masks:
        raise DatasetError(f"{base / 'annotations' / part} holds no masks; {LAYOUT}")
    images = {id: base / "images" / part / f"{id}.jpg" for id in masks}
    require_files(images, "images", LAYOUT)
    table = label_table({value: value for value in range(1, 151)}, void=(0, 255))
    samples = tuple(Sample(id, images[id], IndexedMask(masks[id], table)) for id in masks)
    return Dataset("ade20k", load_vocabulary("ade150"), False, samples, (f"split {split}", "mask value 0 is void"))
