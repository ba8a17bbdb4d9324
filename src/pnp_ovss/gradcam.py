"""GradCAM and Saliency DropOut on a model (steps 3 to 9): the formulas of `saliency`, fed by an adapter.

Everything is written for several photos; one is a list of one. Those of one size go through the passes together, because
each drop leaves as many patches in all of them, and an adapter that `TakesPhotos` encodes and attends to them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from pnp_ovss.competition import without_look_alikes
from pnp_ovss.completion import complete
from pnp_ovss.config import SegmenterConfig
from pnp_ovss.images import normalise_pixels, punch_holes
from pnp_ovss.postprocess import accumulate, comparable, merge_synonyms
from pnp_ovss.prompt import Prompt, build_prompts
from pnp_ovss.saliency import class_maps, drop_most_salient, head_maps, scored_tokens, token_saliency
from pnp_ovss.trace import Pass, Prepared, Trace
from pnp_ovss.vlms.base import CrossAttention, Head, ImageFeatures, TakesPhotos, VisionLanguageModel

Track = Callable[[Iterator[Pass]], Iterable[Pass]]
Rounds = Iterator[Sequence[Pass]]
"""A pass of each photo at a time."""
T = TypeVar("T")
R = TypeVar("R")


def encode(
    vlm: VisionLanguageModel, pixels: Tensor, config: SegmenterConfig, visible: Tensor | None = None
) -> ImageFeatures:
    """The features of (3, S_h, S_w) pixels in [0, 1]; patches that are not visible (N,) are dropped as `hole` says (step 8)."""
    return encode_many(vlm, [pixels], config, None if visible is None else visible[None])[0]


def encode_many(
    vlm: VisionLanguageModel, photos: Sequence[Tensor], config: SegmenterConfig, visible: Tensor | None = None
) -> list[ImageFeatures]:
    """`encode` of P photos of one size; visible: (P, N) bool, as many in every row."""
    removed = visible if config.hole == "remove_tokens" else None
    if visible is not None and removed is None:
        fill = (0.0, 0.0, 0.0) if config.hole == "black" else vlm.mean
        grid = (photos[0].shape[1] // vlm.patch_px, photos[0].shape[2] // vlm.patch_px)
        photos = [punch_holes(p, left.to(p.device), grid, fill) for p, left in zip(photos, visible, strict=True)]
    photos = [normalise_pixels(pixels, vlm.mean, vlm.std) for pixels in photos]
    if len(photos) > 1 and isinstance(vlm, TakesPhotos):
        return vlm.encode_photos(torch.stack(photos), removed)
    rows = [None] * len(photos) if removed is None else removed
    return [vlm.encode(pixels, row) for pixels, row in zip(photos, rows, strict=True)]


def by_size(values: Sequence[T], size: Callable[[T], Hashable], work: Callable[[list[T]], Sequence[R]]) -> list[R]:
    """What `work` makes of the values, given those of one size at a time; in the order of the values."""
    places: dict[Hashable, list[int]] = {}
    for place, value in enumerate(values):
        places.setdefault(size(value), []).append(place)
    found: dict[int, R] = {}
    for rows in places.values():
        found |= dict(zip(rows, work([values[row] for row in rows]), strict=True))
    return [found[place] for place in range(len(values))]


def match_logits(vlm: VisionLanguageModel, features: ImageFeatures, names: Sequence[str], template: str) -> Tensor:
    """Logits (M, 2) of each name alone in the prompt, column 1 = match."""
    prompts = [p for name in names for p in build_prompts([name], template, vlm.tokenize, vlm.max_tokens)]
    return vlm.match(features, prompts)


def look(vlm: VisionLanguageModel, prepared: Prepared, config: SegmenterConfig, track: Track = iter) -> Trace:
    """All passes (steps 3 to 8), with `mirror` those of the photo's mirror image, too. `track` wraps the photo's own."""
    return _look(vlm, [prepared], config, lambda rounds: zip(track(seen for (seen,) in rounds), strict=True))[0]


def look_many(vlm: VisionLanguageModel, photos: Sequence[Prepared], config: SegmenterConfig) -> list[Trace]:
    """`look` of several photos, those of one size together."""
    return by_size(photos, lambda p: p.names and p.pixels.shape, lambda some: _look(vlm, some, config))


def _look(
    vlm: VisionLanguageModel,
    photos: Sequence[Prepared],
    config: SegmenterConfig,
    track: Callable[[Rounds], Iterable[Sequence[Pass]]] = iter,
) -> list[Trace]:
    """Of photos of one size, all with names or all without."""
    if not photos[0].names:
        return [Trace(prepared, ()) for prepared in photos]
    own = _traces(photos, track(passes(vlm, photos, config)))
    if not config.mirror:
        return own
    turned = _turned(vlm, photos, config)
    mirrored = _traces(turned, passes(vlm, turned, config))
    return [replace(trace, mirrored=other) for trace, other in zip(own, mirrored, strict=True)]


def _traces(photos: Sequence[Prepared], rounds: Iterable[Sequence[Pass]]) -> list[Trace]:
    return [Trace(prepared, each) for prepared, each in zip(photos, zip(*rounds, strict=True), strict=True)]


def _turned(vlm: VisionLanguageModel, photos: Sequence[Prepared], config: SegmenterConfig) -> list[Prepared]:
    """The photos' mirror images."""
    pixels = [prepared.pixels.flip(-1) for prepared in photos]
    given = zip(photos, pixels, encode_many(vlm, pixels, config), strict=True)
    return [replace(p, image=p.image[:, ::-1], pixels=own, features=features) for p, own, features in given]


def sum_maps(vlm: VisionLanguageModel, trace: Trace, config: SegmenterConfig) -> Tensor:
    """The passes' sum, completed, synonyms merged: (k, P_h, P_w) float32 ≥ 0 (step 9); (0, 1, 1) without a class.

    Where the mirror image was looked at, too, the mean of both, the photo's way round.
    """
    if not trace.passes or not trace.prepared.groups:
        return torch.zeros(0, 1, 1)
    total = accumulate(torch.stack([p.maps for p in trace.passes]), config)
    if config.completion == "affinity":  # step 9b
        total = complete(total, vlm.patch_tokens(trace.prepared.features), config.affinity_power)
    total = merge_synonyms(comparable(total, config), trace.prepared.groups)
    return total if trace.mirrored is None else (total + sum_maps(vlm, trace.mirrored, config).flip(-1)) / 2


def competitors(vlm: VisionLanguageModel, trace: Trace, config: SegmenterConfig) -> Trace:
    """The same passes with the classes that compete: of names whose maps before completion are the same, the surest alone."""
    if config.look_alikes >= 1:
        return trace
    seen = sum_maps(vlm, trace, config.replace(completion="none"))
    return trace.only(without_look_alikes(seen, trace.prepared.kept_scores, config.look_alikes))


def passes(vlm: VisionLanguageModel, photos: Sequence[Prepared], config: SegmenterConfig) -> Iterator[list[Pass]]:
    """Up to R + 1 passes of photos of one size, one of each at a time, on the patches that the one before left."""
    features = [prepared.features for prepared in photos]
    prompts = [build_prompts(p.names, config.template, vlm.tokenize, vlm.max_tokens) for p in photos]  # step 3
    grid = features[0].grid
    visible = torch.ones(len(photos), grid[0] * grid[1], dtype=torch.bool, device=vlm.device)
    for drop in range(config.drops + 1):
        found = _gradcam(vlm, features, prompts, visible, config)  # steps 4-6
        yield [
            Pass(maps.unflatten(1, grid), seen.unflatten(0, grid))
            for (maps, _), seen in zip(found, visible, strict=True)
        ]
        left = [
            drop_most_salient(saliency, seen, share=config.drop_share, count=config.drop_patches)
            for (_, saliency), seen in zip(found, visible, strict=True)
        ]
        visible = torch.stack(left)  # step 7
        if drop == config.drops or not visible.any():
            return
        features = encode_many(vlm, [prepared.pixels for prepared in photos], config, visible)  # step 8


def first_passes(vlm: VisionLanguageModel, prepared: Prepared, config: SegmenterConfig) -> dict[tuple[int, Head], Pass]:
    """The first pass of every layer, head and mean over heads, from one forward and one backward pass."""
    features, heads = prepared.features, (*range(1, vlm.heads + 1), "mean")

    def maps_of(prompt: Prompt) -> Tensor:
        found = vlm.attend(features, prompt, layers=vlm.layers, head="mean", gradient=config.gradient)
        return torch.cat([head_maps(a.probs, a.grad, prompt.spans) for a in found])

    prompts = build_prompts(prepared.names, config.template, vlm.tokenize, vlm.max_tokens)
    maps = torch.cat([maps_of(prompt) for prompt in prompts], dim=1)
    for prompt in _baseline(vlm, config):
        maps = (maps - maps_of(prompt)).clamp(min=0)
    maps = maps.softmax(dim=1) if config.softmax_over_classes else maps
    visible = torch.ones(features.grid, dtype=torch.bool, device=maps.device)
    pairs: list[tuple[int, Head]] = [(layer, head) for layer in vlm.layers for head in heads]
    return {pair: Pass(m.unflatten(1, features.grid), visible) for pair, m in zip(pairs, maps, strict=True)}


def _baseline(vlm: VisionLanguageModel, config: SegmenterConfig) -> tuple[Prompt, ...]:
    """The text about nothing in particular whose map is subtracted, its words taken as one name; none where it is off."""
    text = (config.baseline_prompt,) if config.baseline_prompt else ()
    return build_prompts(text, "{classes}", vlm.tokenize, vlm.max_tokens)


def _gradcam(
    vlm: VisionLanguageModel,
    features: Sequence[ImageFeatures],
    prompts: Sequence[Sequence[Prompt]],
    visible: Tensor,
    config: SegmenterConfig,
) -> list[tuple[Tensor, Tensor]]:
    """Of each photo class maps (M, N), zero where dropped, and U (N,) of Eq. 2. visible: (P, N)."""
    baseline = _baseline(vlm, config)
    asked = [(*own, *baseline) for own in prompts]
    found: list[list[Tensor]] = [[] for _ in features]
    for place in range(max(map(len, asked))):  # all first prompts at once, then all second ones, ...
        rows = [row for row, texts in enumerate(asked) if place < len(texts)]
        seen = _attend(vlm, [features[row] for row in rows], [asked[row][place] for row in rows], config)
        for row, each in zip(rows, seen, strict=True):
            found[row].append(token_saliency(each.probs, each.grad) * visible[row])
    given = zip(asked, found, visible, strict=True)
    return [_class_saliency(texts, tokens, seen, len(baseline), config) for texts, tokens, seen in given]


def _attend(
    vlm: VisionLanguageModel, images: Sequence[ImageFeatures], prompts: Sequence[Prompt], config: SegmenterConfig
) -> list[CrossAttention]:
    """Where each prompt looks in its image, at the configured layer and head."""
    asked: dict[str, Any] = {"layers": (config.layer,), "head": config.head, "gradient": config.gradient}
    if len(images) > 1 and isinstance(vlm, TakesPhotos):
        return [found for (found,) in vlm.attend_photos(images, prompts, **asked)]
    return [vlm.attend(image, prompt, **asked)[0] for image, prompt in zip(images, prompts, strict=True)]


def _class_saliency(
    prompts: Sequence[Prompt], tokens: Sequence[Tensor], visible: Tensor, baselines: int, config: SegmenterConfig
) -> tuple[Tensor, Tensor]:
    """One photo's class maps (M, N) and U (N,), of the saliency (T, N) of each prompt's tokens; the last prompts are baselines."""
    each = list(zip(prompts, tokens, strict=True))
    own, others = each[: len(each) - baselines], each[len(each) - baselines :]
    stacked = torch.cat([class_maps(found, prompt.spans) for prompt, found in own])
    for prompt, found in others:
        stacked = (stacked - class_maps(found, prompt.spans)).clamp(min=0)
    if config.softmax_over_classes:
        stacked = stacked.softmax(dim=0) * visible
    if config.drop_score != "tokens":
        return stacked, stacked.sum(dim=0)
    return stacked, torch.stack([scored_tokens(found, prompt.spans) for prompt, found in own]).sum(dim=0)
