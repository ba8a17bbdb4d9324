"""The door for COCO's instance files: whatever other programs wrote is checked once, here, and named by its ids.

A document that is no COCO file is refused. What is wrong with one image or annotation is a fault of that image: the
others can be used.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pnp_ovss.errors import ClassNameError, DatasetError
from pnp_ovss.files import read_json, shown
from pnp_ovss.images import MAX_PIXELS

LabelOf = Callable[[str], int]
"""A category's name to its label. Raises ClassNameError for a name that is no class."""


@dataclass(frozen=True)
class Instance:
    """One annotation: the label it means, whether it is a crowd, its segmentation as it stands, and its name."""

    label: int
    crowd: bool
    segmentation: Any
    name: str


@dataclass(frozen=True)
class CocoImage:
    """One image; `fault` says why its annotations cannot be used, "" if they can."""

    id: int | str
    file_name: str
    height: int
    width: int
    instances: tuple[Instance, ...] = ()
    fault: str = ""


def read_coco(path: Path, label_of: LabelOf, layout: str) -> tuple[tuple[CocoImage, ...], tuple[str, ...]]:
    """The images of an instances file by their ids, their annotations in file order; and what had to be left out, one line each.

    Raises DatasetError for a file that cannot be read, has other parts than COCO's, or gives an id twice.
    """
    try:
        document = read_json(path, error=DatasetError)
    except DatasetError as error:
        raise DatasetError(f"{error}; {layout}") from None
    faults: list[str] = []
    images, annotations, categories = (_entries(path, document, part, faults) for part in _PARTS)
    labels = _labels(path, categories, label_of)
    _check_ids(path, "image", images)
    _check_ids(path, "annotation", [entry for entry in annotations if "id" in entry])
    sizes = {entry["id"]: entry for entry in images}
    belonging: dict[Hashable, list[dict[str, Any]]] = {id: [] for id in sizes}
    for entry, name in zip(annotations, _names(annotations), strict=True):
        if not _is_id(image := entry.get("image_id")) or image not in belonging:
            faults.append(f"{path}, {name}: image_id {_short(image)} is no image of the file")
        else:
            belonging[image].append(entry)
    ordered = sorted(images, key=lambda entry: (isinstance(entry["id"], str), entry["id"]))
    found = tuple(_images(path, ordered, belonging, labels, faults))
    if not found:
        raise DatasetError(f"{path} lists no images" + (f" that can be used: {faults[0]}" if faults else ""))
    return found, tuple(faults)


_PARTS = ("images", "annotations", "categories")


def _entries(path: Path, document: Any, part: str, faults: list[str]) -> list[dict[str, Any]]:
    """The objects of one part. Raises DatasetError if there is no such list; other entries are faults."""
    if not isinstance(document, dict) or not isinstance(document.get(part), list):
        raise DatasetError(
            f"{path} is no COCO instances file (expected an object with the lists {', '.join(_PARTS)}; "
            f"{part} is {_short(document.get(part)) if isinstance(document, dict) else 'missing'})"
        )
    kept = []
    for number, entry in enumerate(document[part]):
        if isinstance(entry, dict):
            kept.append(entry)
        else:
            faults.append(f"{path}, {part}[{number}]: expected an object, not {_short(entry)}")
    return kept


def _labels(path: Path, categories: Sequence[dict[str, Any]], label_of: LabelOf) -> dict[Hashable, int]:
    _check_ids(path, "category", categories)
    labels: dict[Hashable, int] = {}
    for entry in categories:
        name = entry.get("name")
        if not isinstance(name, str):
            raise DatasetError(f"{path}, category {entry['id']}: name {_short(name)} is no text")
        try:
            labels[entry["id"]] = label_of(name)
        except ClassNameError as error:
            raise DatasetError(f"{path}, category {entry['id']}: {error}") from None
    return labels


def _check_ids(path: Path, what: str, entries: Sequence[dict[str, Any]]) -> None:
    """Raise DatasetError for an id that is no number or text, or that two entries have."""
    seen: set[Hashable] = set()
    for number, entry in enumerate(entries):
        if not _is_id(entry.get("id")):
            raise DatasetError(
                f"{path}: the id of {what} number {number} is {_short(entry.get('id'))}: expected a whole number or a text"
            )
        if entry["id"] in seen:
            raise DatasetError(f"{path}: two {_PLURAL[what]} have the id {_short(entry['id'])}: make the ids unique")
        seen.add(entry["id"])


_PLURAL = {"image": "images", "annotation": "annotations", "category": "categories"}


def _images(
    path: Path,
    images: Sequence[dict[str, Any]],
    annotations: dict[Hashable, list[dict[str, Any]]],
    labels: dict[Hashable, int],
    faults: list[str],
) -> Iterator[CocoImage]:
    for entry in images:
        where = f"{path}, image {entry['id']}"
        name = entry.get("file_name")
        if not isinstance(name, str) or not name:
            faults.append(f"{where}: file_name {_short(name)} is no text")
            continue
        height, width = (_side(entry.get(side)) for side in ("height", "width"))
        try:
            if not height or not width or height * width > MAX_PIXELS:
                raise DatasetError(
                    f"height {_short(entry.get('height'))} and width {_short(entry.get('width'))}: expected whole numbers "
                    f"of pixels, at most {MAX_PIXELS // 10**6} megapixels"
                )
            instances = tuple(_instances(annotations[entry["id"]], labels))
        except DatasetError as error:
            yield CocoImage(entry["id"], name, 0, 0, fault=f"{where}: {error}")
        else:
            yield CocoImage(entry["id"], name, height, width, instances)


def _instances(entries: Sequence[dict[str, Any]], labels: dict[Hashable, int]) -> Iterator[Instance]:
    for entry, name in zip(entries, _names(entries), strict=True):
        category = entry.get("category_id")
        if not _is_id(category) or category not in labels:
            raise DatasetError(f"{name}: category_id {_short(category)} is no category of the file")
        if entry.get("segmentation") is None:
            raise DatasetError(f"{name} has no segmentation; a box is no mask")
        if entry.get("iscrowd", 0) not in (0, 1):
            raise DatasetError(f"{name}: iscrowd {_short(entry['iscrowd'])}: expected 0 or 1")
        yield Instance(labels[category], bool(entry.get("iscrowd", 0)), entry["segmentation"], name)


def _names(annotations: Sequence[dict[str, Any]]) -> list[str]:
    """What each is called in a message: by its id, or by its place where it has none."""
    return [f"annotation {one['id']}" if "id" in one else f"annotation number {i}" for i, one in enumerate(annotations)]


def _is_id(value: Any) -> bool:
    """A text or a whole number; 17.0, as table programs write it, is 17."""
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int | str) and not isinstance(value, bool)


def _side(value: Any) -> int:
    """A side in pixels, a whole float too; 0 for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_PIXELS:
        return 0
    return int(value) if value == int(value) else 0


def _short(value: Any) -> str:
    text = shown(repr(value).encode("utf-8", "backslashreplace"))
    return text if len(text) <= 40 else f"{text[:37]}..."
