"""GradCAM and Saliency DropOut on a model (steps 3 to 9): the formulas of `saliency`, fed by an adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

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
from pnp_ovss.vlms.base import Head, ImageFeatures, VisionLanguageModel

Track = Callable[[Iterator[Pass]], Iterable[Pass]]


def encode(
    vlm: VisionLanguageModel, pixels: Tensor, config: SegmenterConfig, visible: Tensor | None = None
) -> ImageFeatures:
    """The features of (3, S_h, S_w) pixels in [0, 1]; patches that are not visible (N,) are dropped as `hole` says (step 8)."""
    removed = visible if config.hole == "remove_tokens" else None
    if visible is not None and removed is None:
        fill = (0.0, 0.0, 0.0) if config.hole == "black" else vlm.mean
        grid = (pixels.shape[1] // vlm.patch_px, pixels.shape[2] // vlm.patch_px)
        pixels = punch_holes(pixels, visible.to(pixels.device), grid, fill)
    return vlm.encode(normalise_pixels(pixels, vlm.mean, vlm.std), removed)


def match_logits(vlm: VisionLanguageModel, features: ImageFeatures, names: Sequence[str], template: str) -> Tensor:
    """Logits (M, 2) of each name alone in the prompt, column 1 = match."""
    prompts = [p for name in names for p in build_prompts([name], template, vlm.tokenize, vlm.max_tokens)]
    return vlm.match(features, prompts)


def look(vlm: VisionLanguageModel, prepared: Prepared, config: SegmenterConfig, track: Track = iter) -> Trace:
    """All passes (steps 3 to 8), with `mirror` those of the photo's mirror image, too. `track` wraps the photo's own."""
    if not prepared.names:
        return Trace(prepared, ())
    own = Trace(prepared, tuple(track(passes(vlm, prepared, config))))
    if not config.mirror:
        return own
    pixels = prepared.pixels.flip(-1)
    other = replace(prepared, image=prepared.image[:, ::-1], pixels=pixels, features=encode(vlm, pixels, config))
    return replace(own, mirrored=Trace(other, tuple(passes(vlm, other, config))))


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


def passes(vlm: VisionLanguageModel, prepared: Prepared, config: SegmenterConfig) -> Iterator[Pass]:
    """Up to R + 1 passes, each on the patches that the one before left."""
    features = prepared.features
    prompts = build_prompts(prepared.names, config.template, vlm.tokenize, vlm.max_tokens)  # step 3
    visible = torch.ones(features.grid[0] * features.grid[1], dtype=torch.bool, device=vlm.device)
    for drop in range(config.drops + 1):
        maps, saliency = _gradcam(vlm, features, prompts, visible, config)  # steps 4-6
        yield Pass(maps.unflatten(1, features.grid), visible.unflatten(0, features.grid))
        visible = drop_most_salient(saliency, visible, share=config.drop_share, count=config.drop_patches)  # step 7
        if drop == config.drops or not visible.any():
            return
        features = encode(vlm, prepared.pixels, config, visible)  # step 8


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
    features: ImageFeatures,
    prompts: Sequence[Prompt],
    visible: Tensor,
    config: SegmenterConfig,
) -> tuple[Tensor, Tensor]:
    """Class maps (M, N), zero where dropped, and U (N,) of Eq. 2."""

    def tokens_of(prompt: Prompt) -> Tensor:
        found = vlm.attend(features, prompt, layers=(config.layer,), head=config.head, gradient=config.gradient)[0]
        return token_saliency(found.probs, found.grad) * visible

    maps, saliency = [], []
    for prompt in prompts:
        tokens = tokens_of(prompt)
        maps.append(class_maps(tokens, prompt.spans))
        saliency.append(scored_tokens(tokens, prompt.spans))
    stacked = torch.cat(maps)
    for prompt in _baseline(vlm, config):
        stacked = (stacked - class_maps(tokens_of(prompt), prompt.spans)).clamp(min=0)
    if config.softmax_over_classes:
        stacked = stacked.softmax(dim=0) * visible
    total = torch.stack(saliency).sum(dim=0) if config.drop_score == "tokens" else stacked.sum(dim=0)
    return stacked, total
