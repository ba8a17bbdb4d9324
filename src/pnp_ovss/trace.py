"""What lies between a photo and its labels, as values: `Photo`, what is asked (`Prepared`), where the words looked (`Trace`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from pnp_ovss.competition import given_weights, presence_weights
from pnp_ovss.config import SegmenterConfig
from pnp_ovss.errors import ConfigError, ImageError
from pnp_ovss.images import ImageSource, read_image
from pnp_ovss.policies import Classes, kept_indices
from pnp_ovss.values import Value
from pnp_ovss.vlms.base import ImageFeatures
from pnp_ovss.words import counted


@dataclass(frozen=True, eq=False)
class Photo(Value):
    """A photo that is asked about. image: (H, W, 3) uint8. name: written with the result.

    keep: the names that may win; None: the policy decides.
    """

    image: np.ndarray
    name: str = ""
    keep: Sequence[str] | None = None

    def __post_init__(self) -> None:
        """Raise ImageError for another picture."""
        shape, dtype = getattr(self.image, "shape", ()), getattr(self.image, "dtype", type(self.image).__name__)
        if not isinstance(self.image, np.ndarray) or dtype != np.uint8 or len(shape) != 3 or shape[2] != 3:
            raise ImageError(
                f"a Photo holds an array (H, W, 3) uint8, found {shape} {dtype}; Photo.read takes any picture"
            )
        super().__post_init__()

    @classmethod
    def read(cls, image: ImageSource, *, keep: Sequence[str] | None = None, image_name: str | None = None) -> Photo:
        """From what `read_image` takes and addresses; its path is the name if none is given. Raises ImageError."""
        name = image_name or (str(image) if isinstance(image, str | Path) else "")
        return cls(read_image(image, web=True), name, keep)


@dataclass(frozen=True, eq=False, repr=False)
class Prepared(Value):
    """A photo and class names after steps 0 to 2: encoded, and with the classes chosen.

    image: (H, W, 3) uint8. image_name: its file name, or "". classes: K classes, each a name and its synonyms.
    pixels: (3, S_h, S_w) float32 in [0, 1], the model's input before normalisation. features: of the whole image.
    kept: indices of the k classes that compete, rivals after the K asked. names: the M prompted names. groups: for each
    kept class the rows of its names among them. match_scores: (K + R,) the policy's score of each class and the match of
    each rival in [0, 1], or None. policy: who decided. config: the settings that were used. matches: where the caller listed
    the classes, (K + R,) the match of each that competes, which weighs it and rules nothing out; else (). seconds: wall
    time by step.
    """

    image: np.ndarray
    image_name: str
    classes: Classes
    pixels: Tensor
    features: ImageFeatures
    kept: tuple[int, ...]
    names: tuple[str, ...]
    groups: tuple[tuple[int, ...], ...]
    match_scores: tuple[float | None, ...]
    policy: str
    config: SegmenterConfig
    matches: tuple[float | None, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        kept = ", ".join(self.classes[index][0] for index in self.kept if index < len(self.classes)) or "none"
        return f"Prepared({self.image_name or 'photo'!s}, {counted(len(self.classes), 'class')}, competing: {kept})"

    @property
    def kept_scores(self) -> tuple[float | None, ...]:
        """(k,) the policy's score of each class that competes."""
        return tuple(self.match_scores[index] for index in self.kept)

    def weights(self, config: SegmenterConfig) -> list[float] | None:
        """(k,) how much each class that competes counts, by `soft_presence`; None where that is off or no match is known."""
        scores = self.matches or self.match_scores
        known = [score for score in (scores[index] for index in self.kept) if score is not None]
        if not config.soft_presence or len(known) < len(self.kept):
            return None
        return (given_weights if self.matches else presence_weights)(known, config.match_threshold)

    def only(self, rows: Sequence[int]) -> Prepared:
        """The same with fewer classes that compete: these of the k."""
        return replace(self, kept=tuple(self.kept[r] for r in rows), groups=tuple(self.groups[r] for r in rows))

    def check(self, config: SegmenterConfig) -> None:
        """Raise ConfigError for settings that `prepare` would have read otherwise."""
        for name in config.differing(self.config, "prepare"):
            raise ConfigError(
                f"this photo was prepared with {name} = {getattr(self.config, name)!r}, and this segmenter has "
                f"{getattr(config, name)!r}; prepare it again"
            )


@dataclass(frozen=True, eq=False)
class Pass:
    """One GradCAM pass: maps (M, P_h, P_w) float32 ≥ 0 of the prompted names, visible (P_h, P_w) bool: what it saw."""

    maps: Tensor
    visible: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Trace:
    """Where the words looked: `prepared` and up to R + 1 passes, each on the patches that the one before left.

    Without a class that competes there are no passes. seconds: wall time of the passes. mirrored: the trace of the photo's
    mirror image, with `mirror`; its maps lie the mirror image's way round.
    """

    prepared: Prepared
    passes: tuple[Pass, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)
    mirrored: Trace | None = None

    def __repr__(self) -> str:
        return f"Trace({counted(len(self.passes), 'pass')} of {self.prepared!r})"

    def first(self, count: int) -> Trace:
        """The first passes alone, as if there had been `count` − 1 drops."""
        return replace(self, passes=self.passes[:count], mirrored=self.mirrored and self.mirrored.first(count))

    def keep(self, names: Sequence[str]) -> Trace:
        """The same passes with fewer classes that may win: those of the kept ones that have one of these names, and rivals."""
        prepared = self.prepared
        wanted = kept_indices(prepared.classes, names)
        rivals = range(len(prepared.classes), len(prepared.match_scores))
        rows = [row for row, index in enumerate(prepared.kept) if index in wanted or index in rivals]
        return self.only(rows)

    def only(self, rows: Sequence[int]) -> Trace:
        """The same passes with fewer classes that may win: these rows of the maps."""
        return replace(self, prepared=self.prepared.only(rows), mirrored=self.mirrored and self.mirrored.only(rows))
