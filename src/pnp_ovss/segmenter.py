"""The method, top to bottom. Step numbers are those of docs/method.md."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

from torch import Tensor

from pnp_ovss import gradcam
from pnp_ovss.automatic import asked_classes
from pnp_ovss.classes import Classes, ClassNames
from pnp_ovss.clock import Clock
from pnp_ovss.competition import Scored, compete
from pnp_ovss.config import SegmenterConfig
from pnp_ovss.errors import PnPError, attempt, expect
from pnp_ovss.images import ImageSource, input_size, limited_size, several
from pnp_ovss.keywords import Settings
from pnp_ovss.policies import ClassPolicy, get_policy, with_rule
from pnp_ovss.postprocess import argmax_labels, kept_scores
from pnp_ovss.preparing import Preparation, check_parts, check_prepared, in_groups
from pnp_ovss.presence import Presence, get_bank
from pnp_ovss.presets import IMPLIED, get_preset, remark_on_threshold, resolve
from pnp_ovss.provenance import Provenance, fingerprint
from pnp_ovss.refiners import Evidence, Refiner, get_refiner, refine_photo
from pnp_ovss.segmentation import Segmentation
from pnp_ovss.trace import Photo, Prepared, Trace
from pnp_ovss.vlms.base import Head, VisionLanguageModel

log = logging.getLogger(__name__)


class Segmenter:
    """Segments photos with any class names: `prepare`, `look`, `label`; called, it does all three.

    vlm: an adapter (`pnp_ovss.vlms`). config: all settings. refiner, policy, presence: objects that stand in for the
    configuration's names. method: the name that is written with the results.
    """

    def __init__(
        self,
        vlm: VisionLanguageModel,
        config: SegmenterConfig | None = None,
        *,
        refiner: Refiner | None = None,
        policy: ClassPolicy | None = None,
        presence: Presence | None = None,
        method: str = "custom",
    ) -> None:
        self.vlm = vlm
        self.config = SegmenterConfig() if config is None else config
        self.method = method
        check_parts(vlm, self.config, refiner, policy, presence)
        self.refiner = refiner or get_refiner(self.config.refine, **self.config.refine_options)
        self.input_size(1, 1)  # a size that does not fit the model is refused at once
        self.policy = policy or get_policy(self.config, device=str(vlm.device))
        self.presence = presence or Presence(vlm, self.config.template, get_bank(self.config, vlm))

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = "pocket",
        *,
        method: str | Path | None = None,
        device: str = "auto",
        refiner: Refiner | str | None = None,
        **settings: Unpack[Settings],
    ) -> Segmenter:
        """A segmenter from a preset's name, a hub id, a folder, a safetensors file or a preset's TOML file.

        settings: any field of `SegmenterConfig`; they win over the method, the method over the preset.
        Raises ModelError when the weights cannot be found, with where they were looked for.
        """
        from pnp_ovss.vlms.checkpoints.loading import load_vlm, settle
        from pnp_ovss.vlms.devices import pick_precision

        preset = settle(get_preset(model))
        named = {"refine": refiner} if isinstance(refiner, str) else {}
        config = resolve(preset, method, **settings, **named)
        config = config.replace(precision=pick_precision(config.precision, device))  # results say what `auto` was
        vlm = load_vlm(preset, precision=config.precision, device=device)
        if remark := remark_on_threshold(preset, method, **settings):
            log.warning("%s", remark)
        chosen = None if isinstance(refiner, str) else refiner
        return cls(vlm, config, refiner=chosen, method=Path(method).stem if method else "preset")

    def replace(self, **settings: Unpack[Settings]) -> Segmenter:
        """The same model with other settings; refiner and policy objects stay unless a setting names another.

        >>> from pnp_ovss.testing.fake_vlm import FakeVLM
        >>> Segmenter(FakeVLM(), SegmenterConfig(layer=2, head=2)).replace(blur=0).config.blur
        0
        """
        implied = IMPLIED.get(settings["policy"], {}) if "policy" in settings else {}
        config = self.config.replace(**{**implied, **settings})
        refiner = None if {"refine", "refine_options"} & set(settings) else self.refiner
        policy = None if {"policy", "clip_model"} & set(settings) else with_rule(self.policy, config)
        presence = None if {"bank", "template"} & set(settings) else self.presence
        other = type(self)(self.vlm, config, refiner=refiner, policy=policy, presence=presence, method=self.method)
        if "weights" in self.__dict__:
            other.weights = self.weights
        return other

    def __repr__(self) -> str:
        names = f"{self.vlm.name}, method {self.method}, policy {self.policy.name}, refiner {self.refiner.name}"
        return f"Segmenter({names}, {self.config.size_px} px)"

    def __call__(
        self,
        image: ImageSource,
        class_names: ClassNames,
        *,
        keep: Sequence[str] | None = None,
        image_name: str | None = None,
    ) -> Segmentation:
        """Segment one photo. The arguments are those of `prepare`, and so are the errors."""
        return self.label(self.look(self.prepare(image, class_names, keep=keep, image_name=image_name)))

    def segment_many(
        self, images: Iterable[ImageSource], class_names: ClassNames, *, at_once: int = 1, **options: Any
    ) -> Iterator[Segmentation | PnPError]:
        """Segment photos in their order, lazily: `at_once` of them are read, encoded and looked at together (for a GPU).

        A photo that cannot be segmented yields its PnPError instead of a result and the rest goes on. Raises ImageError for
        one photo in place of several, ConfigError for an `at_once` below 1.
        """
        classes = asked_classes(class_names)
        for some in in_groups(several(images), at_once):
            yield from self.segment_photos([attempt(Photo.read, image, **options) for image in some], classes)

    def segment_photos(
        self, photos: Sequence[Photo | PnPError], class_names: ClassNames
    ) -> Iterator[Segmentation | PnPError]:
        """Segment photos together, in their order; an error in place of one stays, and becomes what is refused of the others."""
        asked = [photo for photo in photos if not isinstance(photo, PnPError)]
        found = iter(self._traces(asked, asked_classes(class_names)))
        for photo in photos:
            trace = photo if isinstance(photo, PnPError) else next(found)
            yield attempt(self.label, trace) if isinstance(trace, Trace) else trace

    def _traces(self, photos: Sequence[Photo], classes: Classes) -> list[Trace | PnPError]:
        """Together or, where something is refused, one by one."""
        together = attempt(lambda: self.look_many(self.prepare_many(photos, classes)))
        if not isinstance(together, PnPError):
            return [*together]
        return [together] if len(photos) == 1 else [own for photo in photos for own in self._traces([photo], classes)]

    def prepare(
        self,
        image: ImageSource,
        class_names: ClassNames,
        *,
        keep: Sequence[str] | None = None,
        image_name: str | None = None,
    ) -> Prepared:
        """Encode a photo and choose the classes that compete (steps 0 to 2).

        image: a path, an address (http, https: it is fetched), bytes, an open file, a PIL image, an array (H, W, 3) or a
        tensor (3, H, W); see `read_image`. class_names: names, or "auto", "auto:coco", ...: those that are found
        (`pnp_ovss.automatic`).
        keep: the names that may win; None: the policy decides. image_name: written with the result (default: the path).
        Raises ImageError, ClassNameError, ConfigError.
        """
        classes = asked_classes(class_names)
        return self.prepare_many([Photo.read(image, keep=keep, image_name=image_name)], classes)[0]

    def prepare_many(self, photos: Sequence[Photo], class_names: ClassNames) -> list[Prepared]:
        """`prepare` of several photos; those of one input size are encoded at once where the model can (`TakesPhotos`)."""
        preparation = Preparation(self.vlm, self.policy, self.presence, self.config)
        return preparation(photos, asked_classes(class_names))

    def look(self, prepared: Prepared, track: gradcam.Track = iter) -> Trace:
        """GradCAM and Saliency DropOut (steps 3 to 8): up to R + 1 passes. `track` wraps them, for a progress bar.

        Raises ConfigError for a `Prepared` of other settings than this segmenter's where `prepare` reads them.
        """
        check_prepared(prepared, self.config)
        clock = Clock()
        with clock("saliency"):
            trace = gradcam.look(self.vlm, prepared, self.config, track)
        return replace(trace, seconds=clock.seconds)

    def look_many(self, photos: Sequence[Prepared]) -> list[Trace]:
        """`look` at several photos; those of one input size go through the passes together. The time is shared out evenly."""
        for prepared in photos:
            check_prepared(prepared, self.config)
        clock = Clock()
        with clock("saliency"):
            traces = gradcam.look_many(self.vlm, photos, self.config)
        return [replace(trace, seconds={"saliency": clock.seconds["saliency"] / len(photos)}) for trace in traces]

    def look_all(self, prepared: Prepared) -> dict[tuple[int, Head], Trace]:
        """{(layer, head): trace}, both from 1, head also "mean": all first passes, from one forward and one backward pass."""
        check_prepared(prepared, self.config)
        if not prepared.names:
            heads = (*range(1, self.vlm.heads + 1), "mean")
            return {(layer, head): Trace(prepared, ()) for layer in self.vlm.layers for head in heads}
        found = gradcam.first_passes(self.vlm, prepared, self.config)
        return {place: Trace(prepared, (seen,)) for place, seen in found.items()}

    def label(self, trace: Trace) -> Segmentation:
        """Who gets each pixel (steps 9 to 14), with the settings of this segmenter."""
        clock, size = Clock(), expect(trace, Trace, "trace", "`look` makes one").prepared.image.shape[:2]
        with clock("labels"):
            trace = gradcam.competitors(self.vlm, trace, self.config)
            total, prepared = self.sum_maps(trace), trace.prepared  # step 9
            scores, rows = self.compete(total, limited_size(size, self.config.output_px), prepared)  # steps 10-12
        with clock("refine"):
            known = Evidence.of(total, rows, [prepared.names[group[0]] for group in prepared.groups])
            scores = refine_photo(self.refiner, prepared.image, scores, known, keep=self.config.core_share)  # step 13
        own = [row for row, index in enumerate(prepared.kept) if index < len(prepared.classes)]  # the others are rivals
        channels = tuple(prepared.kept[row] + 1 if row in own else 0 for row in rows)
        sure = [None if row is None else prepared.kept_scores[row] for row in rows]
        return Segmentation(
            labels=argmax_labels(scores, channels, size, sure),  # step 14
            class_names=tuple(group[0] for group in prepared.classes),
            scores=kept_scores(scores),
            channels=channels,
            maps=total[own].cpu().numpy(),
            kept=tuple(prepared.kept[row] + 1 for row in own),
            match_scores={group[0]: s for group, s in zip(prepared.classes, prepared.match_scores, strict=False)},
            image=prepared.image,
            image_name=prepared.image_name,
            provenance=Provenance.of(self, prepared.policy, len(trace.passes)),
            seconds={**prepared.seconds, **trace.seconds, **clock.seconds},
            synonyms={group[0]: tuple(group[1:]) for group in prepared.classes if group[1:]},
        )

    def sum_maps(self, trace: Trace) -> Tensor:
        """The passes' sum, completed, synonyms merged: (k, P_h, P_w) float32 ≥ 0 (step 9); (0, 1, 1) without a class."""
        return gradcam.sum_maps(self.vlm, trace, self.config)

    def compete(self, total: Tensor, size: tuple[int, int], prepared: Prepared) -> Scored:
        """Scores (C, H, W) ≥ 0 of background and the kept classes, and their rows of the summed maps (steps 10 to 12)."""
        weights = prepared.weights(self.config)
        return compete(total, size, self.config, weights, certain=bool(prepared.matches))

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """The (S_h, S_w) px at which a (H, W) photo enters the model. Raises ConfigError if it cannot have `size_px`."""
        return input_size(height, width, self.config.size_px, self.vlm.size_step_px, self.config.keep_aspect)

    @cached_property
    def weights(self) -> str:
        """The fingerprint of the model's weights."""
        return fingerprint(self.vlm.model)
