"""Photos and class names become what is asked (steps 0 to 2): encoded, and with the classes that compete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from pnp_ovss.automatic import decide
from pnp_ovss.classes import Classes, prompted_names
from pnp_ovss.clock import Clock
from pnp_ovss.config import SegmenterConfig
from pnp_ovss.errors import ConfigError, expect
from pnp_ovss.files import shown
from pnp_ovss.gradcam import by_size, encode_many
from pnp_ovss.images import input_size, to_pixels
from pnp_ovss.policies import ClassPolicy, Request
from pnp_ovss.presence import Presence
from pnp_ovss.refiners import Refiner
from pnp_ovss.rivals import add_rivals, rivals_of
from pnp_ovss.trace import Photo, Prepared
from pnp_ovss.vlms.base import ImageFeatures, VisionLanguageModel, check_layer_and_head

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Preparation:
    """Steps 0 to 2 of a segmenter: its model, who decides what competes, how sure the model is of names, its settings."""

    vlm: VisionLanguageModel
    policy: ClassPolicy
    presence: Presence
    config: SegmenterConfig

    def __call__(self, photos: Sequence[Photo], classes: Classes) -> list[Prepared]:
        """Each photo prepared, those of one input size encoded together. Raises ClassNameError, ConfigError.

        The time that they were encoded in is shared out evenly.
        """
        clock, config = Clock(), self.config
        photos = [expect(photo, Photo, "photo", "Photo.read(path) makes one") for photo in photos]
        with clock("encode"):
            sizes = [
                input_size(*p.image.shape[:2], config.size_px, self.vlm.size_step_px, config.keep_aspect)
                for p in photos
            ]
            pixels = [to_pixels(photo.image, size) for photo, size in zip(photos, sizes, strict=True)]  # step 1
            features = by_size(pixels, lambda each: each.shape, lambda some: encode_many(self.vlm, some, config))
        share = clock.seconds["encode"] / max(1, len(photos))
        given = zip(photos, pixels, features, strict=True)
        return [self._choose(photo, classes, own, seen, share) for photo, own, seen in given]

    def _choose(
        self, photo: Photo, classes: Classes, pixels: Tensor, features: ImageFeatures, encode_s: float
    ) -> Prepared:
        """One encoded photo with the classes that compete."""
        clock = Clock()
        with clock("policy"):
            match = partial(self.presence, features)
            policy, classes, choice = decide(
                self.policy, Request(classes, photo.image, photo.name, match), photo.keep, self.config
            )  # step 0
            rivals = rivals_of(self.config.rivals, classes)
            choice = add_rivals(choice, rivals, match, self.config.match_threshold)
        names, groups = prompted_names((*classes, *rivals), choice.kept, self.config.prompted == "all")  # step 2
        return Prepared(
            image=photo.image,
            image_name=Path(shown(photo.name)).name,
            classes=classes,
            pixels=pixels,
            features=features,
            kept=choice.kept,
            names=names,
            groups=groups,
            match_scores=choice.scores,
            matches=choice.matches,
            policy=policy,
            config=self.config,
            seconds={"encode": encode_s, **clock.seconds},
        )


ADAPTER = ("layers", "heads", "size_step_px", "device", "tokenize", "encode", "attend", "match")
"""What every adapter has that is worth calling one."""


def check_parts(
    vlm: VisionLanguageModel,
    config: SegmenterConfig,
    refiner: Refiner | None,
    policy: ClassPolicy | None,
    presence: Presence | None,
) -> None:
    """Raise ConfigError for what is no part of a segmenter, and for a layer or head that the model has not."""
    expect(config, SegmenterConfig, "config", "write SegmenterConfig(layer=2, ...)")
    if missing := [name for name in ADAPTER if not hasattr(vlm, name)]:
        advice = f"it has no {', '.join(missing)} (docs/extending.md); Segmenter.from_pretrained(NAME) loads a model by its name"
        expect(vlm, VisionLanguageModel, "vlm", advice)
    if refiner is not None:
        expect(refiner, Refiner, "refiner", "get_refiner(NAME) makes one, and so does the setting refine = NAME")
    if policy is not None:
        expect(policy, ClassPolicy, "policy", "name one in the settings, SegmenterConfig(policy=NAME)")
    if presence is not None:
        expect(presence, Presence, "presence", "name a bank in the settings, SegmenterConfig(bank=FILE)")
    check_layer_and_head(vlm, config.layer, config.head)


def check_prepared(prepared: Prepared, config: SegmenterConfig) -> None:
    """Raise ConfigError for what `prepare` did not make, or made with other settings that it reads."""
    expect(prepared, Prepared, "prepared", "`prepare` makes one of a photo and class names").check(config)


def in_groups(images: Iterable[T], at_once: int) -> Iterator[list[T]]:
    """So many of them at a time, lazily. Raises ConfigError for fewer than one."""
    if not isinstance(at_once, int) or at_once < 1:
        raise ConfigError(f"at_once = {at_once!r} is not possible; use a whole number from 1")
    source = iter(images)
    while some := list(islice(source, at_once)):
        yield some
