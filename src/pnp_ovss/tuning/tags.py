"""Which classes are in which photo: a JSON file, or a data set whose ground truth is asked for presence alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pnp_ovss.candidates import Candidates
from pnp_ovss.classes import parse_classes
from pnp_ovss.datasets.base import VOID, Dataset
from pnp_ovss.errors import ConfigError, ImageError
from pnp_ovss.images import read_image
from pnp_ovss.photo_files import find_photos
from pnp_ovss.tuning.maps import TaggedImage
from pnp_ovss.words import counted


def tagged_files(paths: Sequence[Path], tags: Mapping[str, Sequence[str]]) -> tuple[TaggedImage, ...]:
    """The photos among `paths` (files or folders) that the tags name, in the order of the paths.

    tags: {file name, with or without its folders or ending: class names}. Photos without tags are left out.
    Raises ConfigError when none is named, or one twice, ClassNameError for bad names.
    """
    files = [f for path in paths for f in (find_photos(path, deep=False)[0] if path.is_dir() else [path])]
    found, listed = [], Candidates(tags)
    for file in files:
        if names := listed.find(str(file)):
            found.append(TaggedImage(file, tuple(group[0] for group in parse_classes(list(names)))))
    if not found:
        raise ConfigError(
            f"the tags name no photo of {len(files)}; their keys must be file names, for example "
            f'{{"{files[0].name if files else "photo.jpg"}": ["cat", "sofa"]}}'
        )
    return tuple(found)


def check_readable(images: Sequence[TaggedImage]) -> None:
    """Raise ImageError for photos that cannot be read, before the model has worked for hours on those ahead of them."""
    problems = []
    for image in images:
        try:
            read_image(image.path)
        except ImageError as error:
            problems.append(str(error))
    if problems:
        more = f" (and {counted(len(problems) - 1, 'other photo')})" if len(problems) > 1 else ""
        raise ImageError(f"{problems[0]}{more}, or leave it out of the tags")


def dataset_tags(dataset: Dataset) -> tuple[TaggedImage, ...]:
    """The photos of a data set with the classes that occur in them: image-level presence, nothing else of the masks.

    Photos without any class are left out.
    """
    found = []
    for sample in dataset:
        present = [int(label) for label in np.unique(sample.labels()) if 0 < label < VOID]
        if present:
            found.append(TaggedImage(sample.image, tuple(dataset.names[label - 1] for label in present)))
    return tuple(found)
