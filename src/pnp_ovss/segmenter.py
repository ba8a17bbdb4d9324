"""The method, top to bottom. Step numbers are those of docs/method.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pnp_ovss.clock import Clock
from pnp_ovss.config import SegmenterConfig, resolve_config
from pnp_ovss.errors import PnPError
from pnp_ovss.images import (
    ImageSource,
    input_size,
    limited_size,
    load_image,
    normalise_pixels,
    punch_holes,
    shown,
    to_pixels,
)
from pnp_ovss.policies import Choice, ClassPolicy, Request, make_policy
from pnp_ovss.postprocess import (
    accumulate,
    add_background,
    apply_threshold,
    enlarge,
    label_image,
    merge_synonyms,
)
from pnp_ovss.prompt import Prompt, build_prompts, flatten_classes, parse_classes
from pnp_ovss.refiners import Refiner, get_refiner, refine_photo
from pnp_ovss.saliency import SaliencyPass, class_maps, drop_most_salient, scored_tokens, token_saliency
from pnp_ovss.segmentation import Segmentation
from pnp_ovss.versions import library_versions
from pnp_ovss.vlms.base import ImageFeatures, VisionLanguageModel, check_layer_and_head


class Segmenter:
    """Segments photos with any class names.

    vlm: an adapter (`pnp_ovss.vlms`). config: all settings. refiner, policy: objects that stand in for the
    configuration's names. method: the name that is written with the results.
    """

    def __init__(
        self,
        vlm: VisionLanguageModel,
        config: SegmenterConfig | None = None,
        *,
        refiner: Refiner | None = None,
        policy: ClassPolicy | None = None,
        method: str = "custom",
    ) -> None:
        self.vlm = vlm
        self.config = config or SegmenterConfig()
        self.method = method
        self.refiner = refiner or get_refiner(self.config.refine, **self.config.refine_options)
        self._policy = policy
        check_layer_and_head(vlm, self.config.layer, self.config.head)
        self.input_size(1, 1)  # a size that does not fit the model is refused at once

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = "pocket",
        *,
        method: str | Path | None = None,
        device: str = "auto",
        refiner: Refiner | str | None = None,
        **settings: Any,
    ) -> Segmenter:
        """A segmenter from a preset's name, a hub id, a folder, a safetensors file or a preset's TOML file.

        settings: any field of `SegmenterConfig`; they win over the method, the method over the preset.
        Raises ModelError when the weights cannot be found, with where they were looked for.
        """
        from pnp_ovss.vlms.loading import find_preset, load_vlm

        preset = find_preset(model)
        named = {"refine": refiner} if isinstance(refiner, str) else {}
        config = resolve_config(preset, method, **settings, **named)
        vlm = load_vlm(preset, precision=config.precision, device=device)
        chosen = None if isinstance(refiner, str) else refiner
        return cls(vlm, config, refiner=chosen, method=Path(method).stem if method else "preset")

    def __call__(
        self,
        image: ImageSource,
        class_names: str | Iterable[str | Sequence[str]],
        *,
        candidates: Mapping[str, Sequence[str]] | None = None,
        image_id: str | None = None,
    ) -> Segmentation:
        """Segment one photo.

        image: a path, a file's bytes, a PIL image or a uint8 array (H, W), (H, W, 3) or (H, W, 4); see `load_image`.
        class_names: "cat, sofa", names, or (name, synonym, ...) tuples, merged by maximum. candidates: {image id:
        names} for policy `file` or `oracle`; image_id: the photo's key in it (default: its file name).
        Raises ImageError, ClassNameError, ConfigError.
        """
        clock = Clock()
        classes = parse_classes(class_names)
        photo = load_image(image)
        name = image_id or (str(image) if isinstance(image, str | Path) else "")
        with clock("encode"):
            pixels = to_pixels(photo, self.input_size(*photo.shape[:2]))  # step 1
            whole = self._encode(pixels)
        with clock("policy"):
            choice = self._choose(classes, photo, name, whole, candidates)  # step 0
        names, groups = self._names(classes, choice.kept)
        with clock("saliency"):
            passes = self.saliency_passes(pixels, names, whole) if names else []  # steps 2-8
        with clock("labels"):
            total = self.summed_maps(passes, groups)  # step 9
            scores, channels = self.label_scores(total, choice.kept, photo.shape[:2])  # steps 10-12
        with clock("refine"):
            scores = refine_photo(self.refiner, photo, scores)  # step 13
        labels = label_image(scores, channels, photo.shape[:2])  # step 14
        return Segmentation(
            labels=labels,
            class_names=tuple(group[0] for group in classes),
            scores=scores.cpu().numpy(),
            channels=channels,
            maps=total.cpu().numpy(),
            map_labels=tuple(index + 1 for index in choice.kept),
            match_scores={group[0]: score for group, score in zip(classes, choice.scores, strict=True)},
            image=photo,
            image_name=Path(shown(name)).name,
            model=self.vlm.name,
            method=self.method,
            policy=self._policy.name if self._policy else self.config.policy,
            config=self.config,
            seconds=clock.seconds,
            versions=library_versions(),
        )

    def segment_many(
        self, images: Iterable[ImageSource], class_names: str | Iterable[str | Sequence[str]], **options: Any
    ) -> Iterator[Segmentation | PnPError]:
        """Segment photos one after the other, lazily and in their order.

        A photo that cannot be segmented yields its PnPError instead of a result and the rest goes on.
        """
        classes = parse_classes(class_names)
        for image in images:
            try:
                yield self(image, classes, **options)
            except PnPError as error:
                yield error

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """The (S_h, S_w) px at which a (H, W) photo enters the model. Raises ConfigError if it cannot have `size_px`."""
        return input_size(height, width, self.config.size_px, self.vlm.size_step_px, self.config.keep_aspect)

    def saliency_passes(
        self, pixels: Tensor, names: Sequence[str], whole: ImageFeatures | None = None
    ) -> list[SaliencyPass]:
        """GradCAM and Saliency DropOut (steps 2-8): up to R + 1 passes, each on the patches left by the one before.

        pixels: (3, S_h, S_w) in [0, 1]. names: what is prompted. whole: the encoded whole image, if there is one.
        """
        config = self.config
        prompts = build_prompts(names, config.template, self.vlm.tokenize, self.vlm.max_tokens)  # steps 2-3
        features = whole or self._encode(pixels)
        kept = torch.ones(features.grid[0] * features.grid[1], dtype=torch.bool, device=self.vlm.device)
        passes = []
        for drop in range(config.drops + 1):
            maps, saliency = self._gradcam(features, prompts, kept)  # steps 4-6
            passes.append(SaliencyPass(maps.unflatten(1, features.grid), kept.unflatten(0, features.grid)))
            kept = drop_most_salient(saliency, kept, share=config.drop_share, count=config.patches_per_round)  # step 7
            if drop == config.drops or not kept.any():
                break
            features = self._encode(pixels, kept)  # step 8
        return passes

    def summed_maps(self, passes: Sequence[SaliencyPass], groups: list[list[int]]) -> Tensor:
        """The passes' sum, synonyms merged: (K, P_h, P_w) float32 ≥ 0 (step 9); (0, 1, 1) without passes.

        groups: for each of the K classes, the rows of its names in the passes' maps.
        """
        if not passes:
            return torch.zeros(0, 1, 1)
        return merge_synonyms(accumulate(torch.stack([p.maps for p in passes]), self.config), groups)

    def label_scores(self, total: Tensor, kept: Sequence[int], size: tuple[int, int]) -> tuple[Tensor, tuple[int, ...]]:
        """Scores (C, H', W') of background and surviving classes, and the label of each channel (steps 10-12).

        total: (K, P_h, P_w). kept: the index of each of the K classes among those asked. size: (H, W) px.
        """
        masks = apply_threshold(total, self.config) if kept else total
        live = [row for row in range(len(masks)) if bool(masks[row].any())]
        size = limited_size(size, self.config.output_px)
        if not live and (self.config.background != "off" or not kept):
            return torch.ones(1, *size), (0,)
        if not live:  # every pixel needs a class: fall back to the maps without a threshold
            live, masks = list(range(len(total))), total
        labels = tuple(kept[row] + 1 for row in live)
        with_background = add_background(enlarge(masks[live], size, self.config), masks[live], self.config)
        return with_background, labels if len(with_background) == len(labels) else (0, *labels)

    def _gradcam(self, features: ImageFeatures, prompts: Sequence[Prompt], kept: Tensor) -> tuple[Tensor, Tensor]:
        """Class maps (K, N), zero where dropped, and U (N,) of Eq. 2."""
        config, maps, saliency = self.config, [], []
        for prompt in prompts:
            attention = self.vlm.attend(
                features, prompt, layers=(config.layer,), head=config.head, gradient=config.gradient
            )[0]
            tokens = token_saliency(attention.probs, attention.grad) * kept
            maps.append(class_maps(tokens, prompt.spans))
            saliency.append(scored_tokens(tokens, prompt.spans))
        stacked = torch.cat(maps)
        if config.softmax_over_classes:
            stacked = stacked.softmax(dim=0) * kept
        total = torch.stack(saliency).sum(dim=0) if config.drop_score == "tokens" else stacked.sum(dim=0)
        return stacked, total

    def _encode(self, pixels: Tensor, kept: Tensor | None = None) -> ImageFeatures:
        """The image's features, dropped patches blacked out, greyed out or removed (step 8)."""
        removed = kept if self.config.hole == "remove_tokens" else None
        if kept is not None and removed is None:
            fill = (0.0, 0.0, 0.0) if self.config.hole == "black" else self.vlm.mean
            grid = (pixels.shape[1] // self.vlm.patch_px, pixels.shape[2] // self.vlm.patch_px)
            pixels = punch_holes(pixels, kept.to(pixels.device), grid, fill)
        return self.vlm.encode(normalise_pixels(pixels, self.vlm.mean, self.vlm.std), removed)

    def _choose(
        self,
        classes: Sequence[Sequence[str]],
        photo: np.ndarray,
        name: str,
        whole: ImageFeatures,
        candidates: Mapping[str, Sequence[str]] | None,
    ) -> Choice:
        config = self.config
        policy = self._policy or make_policy(
            config.policy,
            threshold=config.match_threshold,
            candidates=candidates,
            options=config.policy_options,
            device=str(self.vlm.device),
        )

        def match(names: Sequence[str]) -> list[float]:
            one = (build_prompts([n], config.template, self.vlm.tokenize, self.vlm.max_tokens) for n in names)
            prompts = [prompt for (prompt,) in one]
            return self.vlm.match(whole, prompts).softmax(dim=1)[:, 1].tolist()

        choice = policy(Request(classes, photo, name, match))
        if choice.kept or config.empty == "background":
            return choice
        scores = [max(match(group)) for group in classes]
        return Choice((int(np.argmax(scores)),), tuple(scores))

    def _names(self, classes: Sequence[Sequence[str]], kept: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """What is prompted, synonyms included, and each kept class's rows among it (step 2); nothing if none is kept."""
        everything = range(len(classes)) if self.config.prompted == "all" and kept else kept
        names, groups = flatten_classes(classes, everything)
        return names, [groups[list(everything).index(index)] for index in kept]
