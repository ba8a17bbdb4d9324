"""What a run leaves beside its numbers, and what it was about: label pictures, and the identity of each image."""

import hashlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from pnp_ovss.datasets.base import Dataset, Sample
from pnp_ovss.errors import OutputError, PnPError
from pnp_ovss.evaluation.records import ImageRecord
from pnp_ovss.files import below
from pnp_ovss.outputs import OutputFolder, content


def label_name(id: str, variant: str = "") -> str:
    """Where an image's labels are saved, below the folder for them."""
    return f"{id}.{variant}.png" if variant else f"{id}.png"


class SavedLabels:
    """The list of the label pictures that a run saves; without a folder nothing is asked of it."""

    def __init__(self, folder: Path | None, dataset: Dataset) -> None:
        self._folder = None if folder is None else OutputFolder(folder)
        self._names = [label_name(sample.id) for sample in dataset]
        if folder is not None and self._folder is not None:
            sources = {path.resolve().parent for s in dataset for path in (s.image, getattr(s.labels, "path", s.image))}
            for name in self._names:
                if below(folder, name).resolve().parent in sources:
                    raise OutputError(f"{folder} holds pictures of the data set; choose another folder for the labels")
            self._folder.check(self._names)

    def begin(self, run: str) -> None:
        """Begin the list, or go on with it when it is the same run's."""
        if self._folder is not None and self._folder.facts.get("run") != run:
            self._folder.begin(self._names, run=run)

    def has(self, id: str) -> bool:
        """Whether the labels of an image are there as this run saved them."""
        return self._folder is None or self._folder.has(id)

    def add(self, record: ImageRecord) -> None:
        """Note the pictures of an image that was made."""
        if self._folder is not None and record.error is None:
            files = [self._folder.folder / label_name(record.id, name) for name in record.counts]
            self._folder.add(files, of=record.id)


def identity(sample: Sample, truth: np.ndarray) -> dict[str, str]:
    """Twelve hex digits each of a sample's photo and of its ground truth (H, W)."""
    labels = np.ascontiguousarray(truth, np.int32)
    digest = hashlib.sha256(str(labels.shape).encode() + labels.tobytes())
    return {"photo": content(sample.image), "truth": digest.hexdigest()[:12]}


def identities(dataset: Dataset, ids: Collection[str]) -> dict[str, dict[str, str]]:
    """{id: identity} of some of a data set's images, as they are now; {} for a truth that cannot be read."""
    found = {}
    for sample in dataset:
        if sample.id in ids:
            try:
                found[sample.id] = identity(sample, sample.labels())
            except PnPError:
                found[sample.id] = {}
    return found
