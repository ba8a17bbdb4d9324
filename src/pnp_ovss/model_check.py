"""Load a model, run it on one picture, and fail loudly on whatever would otherwise go wrong in silence."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pnp_ovss.config import SegmenterConfig
from pnp_ovss.errors import ModelError
from pnp_ovss.images import input_size, normalise_pixels, to_pixels
from pnp_ovss.presets import ModelPreset, resolve_config
from pnp_ovss.prompt import build_prompt, build_prompts
from pnp_ovss.vlms.base import VisionLanguageModel, check_layer_and_head
from pnp_ovss.vlms.checkpoints.loading import load_vlm

NAMES = ("cat", "dog", "sofa", "tree")
PARAMETERS_SHARE = 0.03
"""How far the parameter count may be from the preset's (heads that matching does not use come and go)."""


@dataclass(frozen=True)
class ModelCheck:
    """What was found. seconds: load, encode, match (all names), attend. peak_mb: of the process; 0 where unknown."""

    name: str
    parameters_m: float
    layers: tuple[int, ...]
    heads: int
    grid: tuple[int, int]
    prompt_tokens: int
    match: dict[str, float]
    seconds: dict[str, float]
    peak_mb: int


def check_model(
    preset: ModelPreset,
    *,
    device: str = "auto",
    photo: np.ndarray | None = None,
    names: Sequence[str] = NAMES,
    **settings: Any,
) -> ModelCheck:
    """Load, compare with the preset, tokenize, encode, match and attend once.

    photo: (H, W, 3) uint8; a generated picture by default. settings: of `SegmenterConfig`.
    Raises ModelError for missing weights, a wrong head count, layers, parameter count or vocabulary, and for maps or
    logits that are not finite or do not depend on the patch.
    """
    config = resolve_config(preset, **settings)
    seconds: dict[str, float] = {}
    start = time.perf_counter()
    vlm = load_vlm(preset, precision=config.precision, device=device)
    seconds["load"] = time.perf_counter() - start
    parameters_m = _compare(vlm, preset)
    check_layer_and_head(vlm, config.layer, config.head)
    check_tokens(vlm)
    return _run(vlm, config, parameters_m, sample_picture() if photo is None else photo, tuple(names), seconds)


def parse_layers(text: str) -> tuple[int, ...]:
    """Layers as a preset states them.

    >>> parse_layers("7-9"), parse_layers("1, 3, 5")
    ((7, 8, 9), (1, 3, 5))
    """
    first, dash, last = text.partition("-")
    if dash:
        return tuple(range(int(first), int(last) + 1))
    return tuple(int(part) for part in text.split(",") if part.strip())


def _compare(vlm: Any, preset: ModelPreset) -> float:
    """Parameters in millions, after comparing them, the layers and the heads with the preset's."""
    if preset.heads and vlm.heads != preset.heads:
        raise ModelError(
            f"{preset.name} has {vlm.heads} heads a layer, the preset says {preset.heads}; wrong config.json"
        )
    if preset.layers and vlm.layers != parse_layers(preset.layers):
        raise ModelError(f"{preset.name} has cross-attention in layers {vlm.layers}, the preset says {preset.layers}")
    found = sum(parameter.numel() for parameter in vlm.model.parameters()) / 1e6
    if preset.parameters_m and abs(found - preset.parameters_m) > PARAMETERS_SHARE * preset.parameters_m:
        raise ModelError(
            f"{preset.name} has {found:.0f} million parameters, the preset says {preset.parameters_m:.0f}: "
            "this is another model"
        )
    return found


def check_tokens(vlm: VisionLanguageModel) -> None:
    """Plain words must be known, and differ. Raises ModelError: a vocabulary that is not read gives [UNK] for all."""
    prompts = [build_prompt([name], "A picture of {classes}", vlm.tokenize) for name in NAMES]
    ids = [tuple(prompt.token_ids[i] for i in prompt.spans[0]) for prompt in prompts]
    if len(set(ids)) < len(NAMES):
        raise ModelError(
            f"{vlm.name}: different words have the same tokens {ids}; the vocabulary does not fit the model"
        )
    letters = [name for name, found in zip(NAMES, ids, strict=True) if len(found) >= len(name)]
    if letters:
        raise ModelError(f"{vlm.name}: '{letters[0]}' falls into letters; the vocabulary does not fit the model")


def _run(
    vlm: VisionLanguageModel,
    config: SegmenterConfig,
    parameters_m: float,
    photo: np.ndarray,
    names: tuple[str, ...],
    seconds: dict[str, float],
) -> ModelCheck:
    size = input_size(photo.shape[0], photo.shape[1], config.size_px, vlm.size_step_px, config.keep_aspect)
    pixels = normalise_pixels(to_pixels(photo, size), vlm.mean, vlm.std)
    times = [time.perf_counter()]
    image = vlm.encode(pixels)
    times.append(time.perf_counter())
    logits = vlm.match(image, [build_prompt([n], config.template, vlm.tokenize) for n in names])
    times.append(time.perf_counter())
    prompt = build_prompts(names, config.template, vlm.tokenize, vlm.max_tokens)[0]
    found = vlm.attend(image, prompt, layers=(config.layer,), head=config.head, gradient=config.gradient)[0]
    times.append(time.perf_counter())
    for what, values in (("match logits", logits), ("attention", found.probs), ("gradient", found.grad)):
        _check_values(f"{vlm.name}: the {what}", values)
    steps = zip(("encode", "match", "attend"), times, times[1:], strict=False)
    return ModelCheck(
        name=vlm.name,
        parameters_m=round(parameters_m, 1),
        layers=vlm.layers,
        heads=vlm.heads,
        grid=image.grid,
        prompt_tokens=len(prompt.token_ids),
        match=dict(zip(names, logits.softmax(dim=1)[:, 1].tolist(), strict=True)),
        seconds={**seconds, **{step: end - begin for step, begin, end in steps}},
        peak_mb=peak_memory_mb(),
    )


def _check_values(what: str, values: torch.Tensor | None) -> None:
    if values is None:
        return
    if not bool(torch.isfinite(values).all()):
        raise ModelError(f"{what} are not finite; try --precision float32")
    if values.ndim == 3 and float(values.std(dim=-1).max()) == 0:
        raise ModelError(
            f"{what} is the same at every patch; choose another --layer (the last one reads no class token)"
        )


def sample_picture() -> np.ndarray:
    """A picture (320, 480, 3) uint8 with a warm disc on a cool ramp."""
    rows, columns = np.mgrid[0:320, 0:480]
    picture = np.stack([rows // 3, 90 + columns // 5, 220 - rows // 3], axis=-1)
    picture[(rows - 150) ** 2 + (columns - 300) ** 2 < 80**2] = (210, 120, 40)
    return picture.astype(np.uint8)


def peak_memory_mb() -> int:
    """The largest resident memory that this process had, MB."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if platform.system() == "Darwin" else 2**10))
