"""Pascal Context with its 59 frequent classes, in the layout of mmsegmentation.

Mask files of this data set exist in two orders, and nothing in a file tells which: the data set's own
`59_labels.txt` (aeroplane, bicycle, bird, ...) and the alphabetical one (aeroplane, bag, bed, ...) that
mmsegmentation's converter writes (its map is sorted by the ids of the alphabetical list of 459 classes). A
wrong guess scores the wrong classes without any error, so the order has to be said, by the caller or by a
file `59_labels.txt` beside the masks.
"""

import re
from pathlib import Path

from pnp_ovss.datasets.base import VOID, Dataset
from pnp_ovss.datasets.masks import label_table
from pnp_ovss.datasets.pictures import require_folder
from pnp_ovss.datasets.voc import voc_samples
from pnp_ovss.datasets.vocabulary import Vocabulary, get_vocabulary
from pnp_ovss.errors import ClassNameError, DatasetError
from pnp_ovss.files import read_lines

LAYOUT = (
    "expected ROOT/JPEGImages/ID.jpg, ROOT/SegmentationClassContext/ID.png, "
    "ROOT/ImageSets/SegmentationContext/SPLIT.txt"
)
ORDERS = ("59_labels", "mmsegmentation")
_BASES = ("JPEGImages", "VOC2010/JPEGImages", "VOCdevkit/VOC2010/JPEGImages")
_ORDER_FILE = "59_labels.txt"


def open_pascal_context(
    root: Path, *, order: str | None = None, split: str = "val", background: bool = False
) -> Dataset:
    """Pascal Context-59: mask values 1-59 are the classes, 0 what belongs to none of them, 255 void.

    `order` is `59_labels` or `mmsegmentation` (alphabetical), or the path of a file with lines `12: dog` or
    `dog`; without it, ROOT/59_labels.txt must be there. `background=True` counts 0 as a class (Context-60);
    otherwise it is void. `split` is as in `open_voc`. Raises DatasetError.
    """
    base = require_folder(root, _BASES, LAYOUT).parent
    folder = require_folder(base, ("SegmentationClassContext",), LAYOUT)
    vocabulary = get_vocabulary("context59")
    names, said_by = _order_of(base, order, vocabulary)
    classes = {value: vocabulary.label(name) for value, name in enumerate(names, start=1)}
    table = label_table({0: 0 if background else VOID, **classes}, void=(255,))
    notes = (
        f"split {split}",
        f"class order of the masks: {said_by}",
        f"background {'on' if background else 'off'}",
    )
    samples, left_out = voc_samples(base, folder, split, table, LAYOUT, lists="SegmentationContext")
    return Dataset("context", vocabulary, background, samples, notes, left_out=left_out)


def _order_of(base: Path, order: str | None, vocabulary: Vocabulary) -> tuple[tuple[str, ...], str]:
    if order is None and (base / _ORDER_FILE).is_file():
        order = str(base / _ORDER_FILE)
    if order is None:
        raise DatasetError(
            f"the class order of the masks in {base} is not stated: give the order '59_labels' (the "
            f"data set's own) or 'mmsegmentation' (its converter's, alphabetical), or put {_ORDER_FILE} there"
        )
    if order == "59_labels":
        return vocabulary.names, order
    if order == "mmsegmentation":
        return tuple(sorted(vocabulary.names)), f"{order} (alphabetical)"
    return _read_order(Path(order), vocabulary), order


def _read_order(path: Path, vocabulary: Vocabulary) -> tuple[str, ...]:
    """Names of the mask values 1-59 from lines `12: dog` or plain names in order; all 59, each once."""
    try:
        lines = read_lines(path, "the order", error=DatasetError)
    except DatasetError as error:
        raise DatasetError(f"order {str(path)!r}: not one of {', '.join(ORDERS)}, and no file: {error}") from None
    rows = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    numbered = [re.fullmatch(r"(\d+)\s*[:\s]\s*(.+)", row) for row in rows]
    given = {int(match[1]): match[2] for match in numbered if match} or dict(enumerate(rows, start=1))
    if given.get(0, "").lower() in ("background", "empty"):
        del given[0]
    names = tuple(given.get(value, "") for value in range(1, len(vocabulary) + 1))
    try:
        complete = len(given) == len({vocabulary.label(name) for name in names}) == len(vocabulary)
    except ClassNameError:
        complete = False
    if not complete:
        raise DatasetError(f"{path} does not name each of the 59 classes once; expected lines like `12: dog`")
    return names
