"""Any folder of images and indexed masks, described by a small TOML file.

name = "camvid"            # optional; otherwise the folder's name
images = "images"          # folder of the pictures, relative to the root
masks = "masks"            # folder of the masks; a mask has the name of its image
mask_suffix = ""           # optional: the mask of a.jpg is a<mask_suffix>.png
classes = "classes.txt"    # one class a line, synonyms after commas; or a list of such lines
background = "none"        # the mask value of the background, or "none" if there is no background
values = [0, 1, 2]         # optional: the mask value of each class; otherwise they count up from 0, or from 1
                           # if the background is 0
void = [11]                # mask values without ground truth
list = "val.txt"           # optional: the image names to use; otherwise every image
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pnp_ovss.datasets.base import Dataset, Sample
from pnp_ovss.datasets.masks import IndexedMask, LabelTable, label_table
from pnp_ovss.datasets.pictures import PictureFolder, read_ids, require_folder
from pnp_ovss.datasets.vocabulary import Vocabulary, make_vocabulary, read_vocabulary
from pnp_ovss.errors import DatasetError
from pnp_ovss.files import read_toml
from pnp_ovss.words import counted

CONFIG_NAME = "dataset.toml"
LAYOUT = "expected ROOT/<images>/ID.jpg, ROOT/<masks>/ID.png and a dataset.toml with images, masks, classes, background"
_REQUIRED = {"images": str, "masks": str, "classes": (str, list), "background": (int, str)}
_OPTIONAL = {"name": str, "mask_suffix": str, "values": list, "void": list, "list": str}


@dataclass(frozen=True)
class FolderConfig:
    """A checked dataset.toml; the fields are described at the top of this module."""

    name: str
    images: str
    masks: str
    classes: str | tuple[str, ...]
    background: int | None
    mask_suffix: str = ""
    values: tuple[int, ...] = ()
    void: tuple[int, ...] = ()
    ids: str | None = None

    def vocabulary(self, root: Path) -> Vocabulary:
        """The classes, from the TOML itself or from the file it names."""
        if isinstance(self.classes, tuple):
            return make_vocabulary(self.name, self.classes)
        return read_vocabulary(root / self.classes)

    def table(self, classes: int) -> LabelTable:
        """Mask value -> label. Raises DatasetError if two of them claim one value."""
        first = 1 if self.background == 0 else 0
        values = self.values or tuple(range(first, first + classes))
        if len(values) != classes:
            raise DatasetError(
                f"{self.name}: {counted(len(values), 'value')} for {counted(classes, 'class')}; give one a class"
            )
        claimed = [*values, *self.void, *([] if self.background is None else [self.background])]
        if len(set(claimed)) < len(claimed):
            twice = next(value for value in claimed if claimed.count(value) > 1)
            raise DatasetError(f"{self.name}: mask value {twice} is claimed twice by classes, background and void")
        labels = {value: label for label, value in enumerate(values, start=1)}
        background = {} if self.background is None else {self.background: 0}
        return label_table({**background, **labels}, void=self.void)


def open_folder(root: Path, *, config: str | Path | None = None) -> Dataset:
    """A folder data set; `config` is the TOML file, ROOT/dataset.toml if not given. Raises DatasetError."""
    settings = read_config(Path(config) if config else root / CONFIG_NAME)
    vocabulary = settings.vocabulary(root)
    table = settings.table(len(vocabulary))
    images = PictureFolder(require_folder(root, (settings.images,), LAYOUT))
    folder = require_folder(root, (settings.masks,), LAYOUT)
    masks = PictureFolder(folder, suffix=settings.mask_suffix, usual=".png")
    ids = read_ids(root / settings.ids, images, LAYOUT) if settings.ids else tuple(images.all())
    if not ids:
        raise DatasetError(f"{root / settings.images} holds no images; {LAYOUT}")
    photos = images.require(ids, "images", LAYOUT)
    truth = masks.require(ids, "masks", LAYOUT)
    samples = tuple(Sample(id, photos[id], IndexedMask(truth[id], table, photos[id])) for id in ids)
    background = "none" if settings.background is None else f"mask value {settings.background}"
    notes = (f"background: {background}", f"void: mask values {', '.join(map(str, settings.void)) or 'none'}")
    return Dataset(settings.name, vocabulary, settings.background is not None, samples, notes, left_out=images.left_out)


def read_config(path: Path) -> FolderConfig:
    """Read and check a dataset.toml. Raises DatasetError, naming the key that is wrong."""
    try:
        given = read_toml(path, "the data set description", error=DatasetError)
    except DatasetError as error:
        raise DatasetError(f"{error}; {LAYOUT}") from None
    known: dict[str, Any] = {**_REQUIRED, **_OPTIONAL}
    if unknown := given.keys() - known.keys():
        raise DatasetError(f"{path}: unknown key {min(unknown)!r}; known: {', '.join(known)}")
    if missing := [key for key in _REQUIRED if key not in given]:
        raise DatasetError(f"{path}: {missing[0]} is missing; {LAYOUT}")
    for key, value in given.items():
        if key == "classes" and isinstance(value, list) and not all(isinstance(line, str) for line in value):
            raise DatasetError(f"{path}: classes = {str(value)[:60]}; give a file's name or a list of texts")
        if not isinstance(value, known[key]) or isinstance(value, bool):
            raise DatasetError(f"{path}: {key} = {value!r} is of the wrong type")
    if isinstance(given["background"], str) and given["background"] != "none":
        raise DatasetError(f"{path}: background = {given['background']!r}; give a mask value or 'none'")
    return _config(path, given)


def _config(path: Path, given: dict[str, Any]) -> FolderConfig:
    numbers = {"values": given.get("values", []), "void": given.get("void", [])}
    numbers["background"] = [] if given["background"] == "none" else [given["background"]]
    for key, values in numbers.items():
        if any(type(value) is not int or not 0 <= value <= 65_535 for value in values):
            raise DatasetError(f"{path}: {key} = {given[key]}; give mask values from 0 to 65535")
    classes = given["classes"]
    return FolderConfig(
        name=given.get("name", path.parent.name),
        images=given["images"],
        masks=given["masks"],
        classes=classes if isinstance(classes, str) else tuple(map(str, classes)),
        background=None if given["background"] == "none" else given["background"],
        mask_suffix=given.get("mask_suffix", ""),
        values=tuple(given.get("values", ())),
        void=tuple(given.get("void", ())),
        ids=given.get("list"),
    )
