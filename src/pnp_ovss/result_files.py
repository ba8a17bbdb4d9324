"""A result's files, written and read: STEM.labels.png, STEM.overlay.png, STEM.json and, if asked, STEM.scores.npz."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pnp_ovss.errors import ConfigError, DatasetError, ImageError
from pnp_ovss.files import read_json, shown, write_atomically, write_json, writing
from pnp_ovss.pictures.labels_image import png_bytes
from pnp_ovss.provenance import Provenance
from pnp_ovss.words import counted

ARRAYS = ("scores", "channels", "maps", "kept", "image")
"""What STEM.scores.npz holds beside the labels."""


def write_files(
    base: Path,
    pictures: Mapping[str, Image.Image],
    record: Mapping[str, Any],
    arrays: Mapping[str, NDArray] | None,
) -> dict[str, Path]:
    """Write BASE.KIND.png of each picture, the arrays and, last, the record; the arrays of an older result go. {kind: path}."""
    paths, scores = {kind: base.with_name(f"{base.name}.{kind}.png") for kind in pictures}, _scores_of(base)
    if arrays is None:
        with writing(scores):
            scores.unlink(missing_ok=True)
    for kind, picture in pictures.items():
        write_atomically(paths[kind], png_bytes(picture))
    if arrays is not None:
        paths["scores"] = scores
        data = io.BytesIO()
        kept: dict[str, Any] = {name: arrays[name] for name in ARRAYS}
        np.savez_compressed(data, **kept)
        write_atomically(paths["scores"], data.getvalue())
    paths["json"] = base.with_name(f"{base.name}.json")
    write_json(paths["json"], record)
    return paths


def _scores_of(base: Path) -> Path:
    return base.with_name(f"{base.name}.scores.npz")


def find_stem(folder: Path, stem: str | None) -> str:
    """The stem that is asked for, or that of the only result in the folder. Raises DatasetError."""
    if stem is not None:
        return stem
    stems = sorted(path.name.removesuffix(".labels.png") for path in folder.glob("*.labels.png"))
    if len(stems) != 1:
        found = f"{counted(len(stems), 'result')} ({', '.join(map(shown, stems[:5]))}); say which: load(folder, stem)"
        raise DatasetError(f"{shown(folder)} holds {found if stems else 'no *.labels.png; give the --out folder'}")
    return stems[0]


def read_record(path: Path) -> dict[str, Any]:
    """The record that `write_files` wrote. Raises DatasetError for anything else."""
    record = read_json(path, "the result", error=DatasetError)
    keys = {"image", "size", "classes", "config", "model"}
    classes = record.get("classes") if isinstance(record, dict) else None
    whole = isinstance(classes, list) and all(isinstance(c, dict) and isinstance(c.get("name"), str) for c in classes)
    if not whole or not keys <= set(record):
        raise DatasetError(f"{shown(path)} is not a result of `Segmentation.save` or `pnp-ovss segment`")
    return record


def read_labels(path: Path, size: tuple[int, ...], classes: int) -> NDArray[np.uint16]:
    """(H, W) uint16 labels of the size that the record says. Raises DatasetError."""
    try:
        with Image.open(path) as picture:
            labels = np.array(picture).astype(np.uint16)
    except Exception as error:  # whatever a decoder raises on damaged bytes
        raise DatasetError(f"{shown(path)} cannot be read ({error}); segment the photo again") from None
    if labels.shape != size or labels.max(initial=0) > classes:
        raise DatasetError(f"{shown(path)} and the JSON beside it are not of one result; segment the photo again")
    return labels


def read_arrays(path: Path) -> dict[str, NDArray] | None:
    """{name: array} of `ARRAYS`; None where there is no such file. Raises DatasetError for a damaged one."""
    if not path.exists():
        return None
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as found:
            return {name: found[name] for name in ARRAYS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{shown(path)} is damaged ({error}); segment the photo again") from None


def read_fields(folder: Path, stem: str | None) -> dict[str, Any]:
    """{field of `Segmentation`: value} of the result in a folder. Raises DatasetError."""
    base = folder / find_stem(folder, stem)
    path = base.with_name(f"{base.name}.json")
    record = read_record(path)
    size, classes = tuple(record["size"]), record["classes"]
    labels = read_labels(base.with_name(f"{base.name}.labels.png"), size, len(classes))
    arrays = read_arrays(_scores_of(base)) or _no_arrays(size)
    try:
        provenance = Provenance.from_dict(record)
    except ConfigError as error:
        raise DatasetError(f"{shown(path)} is of another version: {error}; segment the photo again") from None
    return {
        "labels": labels,
        "class_names": tuple(entry["name"] for entry in classes),
        "match_scores": {entry["name"]: entry.get("match_score") for entry in classes},
        "synonyms": {entry["name"]: tuple(entry["synonyms"]) for entry in classes if entry.get("synonyms")},
        "told": {entry["name"]: entry["verdict"] for entry in classes if "verdict" in entry},
        "image_name": record["image"],
        "provenance": provenance,
        "seconds": record.get("seconds", {}),
        **{name: arrays[name] for name in ("scores", "maps", "image")},
        **{name: tuple(arrays[name].tolist()) for name in ("channels", "kept")},
    }


def check_photo(image: NDArray[np.uint8], size: tuple[int, ...]) -> NDArray[np.uint8]:
    """The photo (H, W, 3) itself. Raises ImageError where it has another size than the result's labels (H, W)."""
    if image.shape[:2] != size:
        (height, width), (rows, columns) = image.shape[:2], size
        raise ImageError(
            f"the photo has {width} x {height} px and the result {columns} x {rows}: it is of another photo"
        )
    return image


def _no_arrays(size: tuple[int, ...]) -> dict[str, NDArray]:
    """What stands for arrays that were not kept: empty ones, and a white photo."""
    empty, none = np.zeros((0, 1, 1), np.float32), np.zeros(0, int)
    return {"scores": empty, "maps": empty, "channels": none, "kept": none, "image": np.full((*size, 3), 255, np.uint8)}
