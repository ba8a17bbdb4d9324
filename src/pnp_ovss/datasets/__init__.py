"""Data sets with ground truth, read from the layouts that people have on disk."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pnp_ovss.datasets.ade20k import open_ade20k
from pnp_ovss.datasets.base import VOID, Dataset, Labels, Sample, UnknownLabelError
from pnp_ovss.datasets.check import DatasetCheck, check_dataset, contact_sheet, first_classes
from pnp_ovss.datasets.coco import open_coco_object, open_coco_stuff
from pnp_ovss.datasets.folder import open_folder
from pnp_ovss.datasets.pascal_context import open_pascal_context
from pnp_ovss.datasets.splits import ClassSplit, get_split, list_splits
from pnp_ovss.datasets.voc import open_voc
from pnp_ovss.datasets.vocabulary import Vocabulary, get_vocabulary, list_vocabularies, read_vocabulary
from pnp_ovss.errors import DatasetError

__all__ = [
    "VOID",
    "ClassSplit",
    "Dataset",
    "DatasetCheck",
    "Labels",
    "Sample",
    "UnknownLabelError",
    "Vocabulary",
    "check_dataset",
    "contact_sheet",
    "dataset_options",
    "first_classes",
    "get_split",
    "get_vocabulary",
    "list_datasets",
    "list_splits",
    "list_vocabularies",
    "open_dataset",
    "read_vocabulary",
]

_READERS: dict[str, Callable[..., Dataset]] = {
    "voc": open_voc,
    "context": open_pascal_context,
    "coco-object": open_coco_object,
    "coco-stuff": open_coco_stuff,
    "ade20k": open_ade20k,
    "folder": open_folder,
}
_DESCRIBED = files("pnp_ovss.datasets") / "folders"


def list_datasets() -> tuple[str, ...]:
    """Names that `open_dataset` takes: readers, then the folder layouts described in datasets/folders.

    >>> list_datasets()
    ('voc', 'context', 'coco-object', 'coco-stuff', 'ade20k', 'folder', 'camvid')
    """
    return (*_READERS, *sorted(entry.name.removesuffix(".toml") for entry in _DESCRIBED.iterdir()))


def dataset_options(name: str) -> tuple[str, ...]:
    """Names of the options of `open_dataset` for one data set. Raises DatasetError for an unknown one.

    >>> dataset_options("context")
    ('order', 'split', 'background')
    """
    parameters = inspect.signature(_reader(name)).parameters.values()
    return tuple(parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY)


def open_dataset(name: str, root: str | Path, /, **options: Any) -> Dataset:
    """Open a data set of `list_datasets` in the folder `root`; `dataset_options` names its options.

    Opening lists the files and reads no picture. Raises DatasetError, in one line with the expected layout,
    if files are missing or misplaced or an option is unknown or of another type.
    """
    reader = _reader(name)
    if unknown := options.keys() - set(dataset_options(name)):
        known = ", ".join(dataset_options(name)) or "none"
        raise DatasetError(f"data set {name!r} has no option {min(unknown)!r}; its options: {known}")
    for option, value in options.items():
        wanted = get_type_hints(reader)[option]
        if not isinstance(value, wanted):
            raise DatasetError(f"data set {name!r}: {option} = {value!r} is not possible; expected {_in_words(wanted)}")
    path = Path(root)
    if not path.is_dir():
        raise DatasetError(f"data set {name!r}: {path} is no folder")
    found = reader(path, **options)
    if reader is open_folder and found.name in _READERS:  # a set of one's own: no published figures belong beside it
        return replace(found, name=f"folder-{found.name}")
    return found


def _in_words(wanted: Any) -> str:
    """`str | None` as "text", `bool` as "true or false"."""
    kinds = [{str: "text", Path: "a path", bool: "true or false"}.get(kind) for kind in get_args(wanted) or (wanted,)]
    return " or ".join(filter(None, kinds))


def _reader(name: str) -> Callable[..., Dataset]:
    if name in _READERS:
        return _READERS[name]
    if name in list_datasets():
        return partial(_open_described, name)
    raise DatasetError(f"no data set {name!r}; there are {', '.join(list_datasets())}")


def _open_described(name: str, root: Path) -> Dataset:
    with as_file(_DESCRIBED / f"{name}.toml") as config:
        return open_folder(root, config=config)
