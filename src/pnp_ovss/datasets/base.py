"""What every data set reader gives: samples with lazily read labels, all in one convention.

Labels are (H, W) int32 arrays: 0 is background, i is the i-th class of the vocabulary, counted from 1, and
`VOID` is a pixel without ground truth. That is `Segmentation.labels`, too. In a data set without background
no label is 0.

`VOID` is 65535 and not the 255 of 8-bit mask files, because 255 is class 255 of a large vocabulary; and not
-1, because `colours[labels]` with -1 silently reads the last row, while 65535 raises IndexError.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.datasets.vocabulary import VOID, Vocabulary
from pnp_ovss.errors import DatasetError
from pnp_ovss.files import shown
from pnp_ovss.photo_files import LeftOut
from pnp_ovss.settings import check_seed
from pnp_ovss.words import counted

Labels = NDArray[np.int32]
"""(H, W) ground truth: 0 = background, i = the i-th class (from 1), `VOID` = unknown."""


class UnknownLabelError(DatasetError):
    """A mask with values that no class has; `values` holds them."""

    def __init__(self, message: str, values: tuple[int, ...]) -> None:
        super().__init__(message)
        self.values = values


@dataclass(frozen=True)
class Sample:
    """One image of a data set; `sample.labels()` reads its ground truth from disk at every call.

    `labels` raises DatasetError if the mask cannot be read or holds unknown values. Samples can be pickled.
    """

    id: str
    image: Path
    labels: Callable[[], Labels]


@dataclass(frozen=True)
class TaggedImage:
    """A photo and the names of the classes in it: image-level tags, all that tuning and CAM know of it."""

    path: Path
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class Dataset:
    """Images with ground truth, and the classes that the ground truth speaks of."""

    name: str
    vocabulary: Vocabulary
    has_background: bool
    """Whether label 0 is a class of its own that counts in the mean; without it, no pixel has label 0."""
    samples: tuple[Sample, ...]
    notes: tuple[str, ...] = ()
    """The conventions in force, one line each, to be printed with every result."""
    faults: tuple[str, ...] = ()
    """What the reader had to leave out because it is wrong, one line each."""
    left_out: LeftOut = field(default_factory=LeftOut, compare=False)
    """Files of its folders that are no pictures, by reason."""

    def __post_init__(self) -> None:
        """Raise DatasetError when two samples have one id: records and saved labels are named by it."""
        first: dict[str, Path] = {}
        for sample in self.samples:
            if sample.id in first:
                both = f"{shown(first[sample.id])} and {shown(sample.image)}"
                raise DatasetError(
                    f"{self.name}: two images have the id {shown(sample.id)!r} ({both}): each may be listed once, and an "
                    "id is its path without the ending"
                )
            first[sample.id] = sample.image

    @property
    def names(self) -> tuple[str, ...]:
        """The class names to prompt; the i-th (from 1) is label i."""
        return self.vocabulary.names

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]

    def subset(self, limit: int | None, seed: int | None = None) -> "Dataset":
        """At most `limit` of the samples, in their order: the first ones, or with a seed a random choice.

        Raises DatasetError if `limit` is not positive, ConfigError for a seed out of range.
        """
        if limit is None:
            return self
        if limit < 1:
            raise DatasetError(
                f"limit of {counted(limit, 'image')}: give a positive number, or none for all {len(self)}"
            )
        if limit >= len(self):
            return self
        chosen = np.arange(limit)
        if seed is not None:
            chosen = np.sort(np.random.default_rng(check_seed(seed)).choice(len(self), size=limit, replace=False))
        how = "first" if seed is None else f"random, seed {seed}"
        note = f"{limit} of {counted(len(self), 'image')} ({how})"
        return replace(self, samples=tuple(self.samples[i] for i in chosen), notes=(*self.notes, note))

    def restrict(self, labels: tuple[int, ...], name: str) -> "Dataset":
        """The same images with only some of the classes; the pixels of the other classes become void.

        `labels` (from 1) become 1, 2, ... in their order; background stays. `name` is said in the notes.
        """
        classes = tuple(self.vocabulary.classes[label - 1] for label in labels)
        table = np.full(len(self.vocabulary) + 1, VOID, dtype=np.int32)
        table[0] = 0
        table[list(labels)] = np.arange(1, len(labels) + 1)
        samples = tuple(replace(sample, labels=partial(_restricted, sample.labels, table)) for sample in self.samples)
        note = f"only {counted(len(labels), f'{name} class')}; the others are void"
        vocabulary = Vocabulary(f"{self.vocabulary.name}-{name}", classes)
        changes = {"vocabulary": vocabulary, "samples": samples, "notes": (*self.notes, note)}
        return replace(self, name=f"{self.name}/{name}", **changes)


def _restricted(labels: Callable[[], Labels], table: Labels) -> Labels:
    """The labels of a sample through a table (C + 1,) of new labels; void stays void."""
    found = labels()
    known = found != VOID
    return np.where(known, table[np.where(known, found, 0)], VOID).astype(np.int32)
