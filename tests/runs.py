"""Runs on disk with known labels, for the exports."""

import json
from pathlib import Path

import numpy as np

from pnp_ovss.pictures.labels_image import labels_image


def write_result(folder: Path, stem: str, image: str, labels: np.ndarray, names: list[str]) -> None:
    """A photo's labels and JSON as `pnp-ovss segment` leaves them."""
    labels_image(labels, len(names)).save(folder / f"{stem}.labels.png")
    classes = [{"id": i, "name": name, "share": 0.0, "match_score": None} for i, name in enumerate(names, 1)]
    record = {"image": image, "size": list(labels.shape), "classes": classes, "model": "fake"}
    (folder / f"{stem}.json").write_text(json.dumps(record), "utf-8")


def holes() -> np.ndarray:
    """(20, 30): class 1 with two holes that touch at a corner, class 2 inside one, diagonal pixels, a corner pixel."""
    labels = np.zeros((20, 30), dtype=np.uint16)
    labels[2:14, 3:20] = 1
    labels[4:8, 5:9] = 0
    labels[5:7, 6:8] = 2
    labels[9:12, 12:18] = 0
    labels[8, 9] = 0
    labels[15, 25] = labels[16, 26] = labels[16, 24] = labels[17, 25] = 1
    labels[19, 29] = 2
    return labels


def noise() -> np.ndarray:
    """(17, 13) of labels 0..3 at random."""
    return np.random.default_rng(0).integers(0, 4, (17, 13)).astype(np.uint16)


def many() -> np.ndarray:
    """(8, 9) of classes 7 and 290: a 16-bit label image."""
    labels = np.zeros((8, 9), dtype=np.uint16)
    labels[2:5, 3:7] = 290
    labels[6] = 7
    return labels


def write_run(folder: Path, results: dict[str, tuple[np.ndarray, list[str]]]) -> Path:
    """A folder as `pnp-ovss segment` leaves it: {photo below /photos: (labels, class names)}."""
    from pnp_ovss.outputs import OutputFolder, unique_stems

    folder.mkdir(parents=True, exist_ok=True)
    photos = [Path("/photos") / name for name in results]
    made = OutputFolder(folder).begin()
    for photo, stem, (labels, names) in zip(photos, unique_stems(photos), results.values(), strict=True):
        write_result(folder, stem, photo.name, labels, names)
        made.add([folder / f"{stem}.labels.png", folder / f"{stem}.json"], photo=str(photo))
    return folder
