"""Load a model, run it on one photo, and fail loudly on whatever would otherwise go wrong in silence."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pnp_ovss.errors import ModelError
from pnp_ovss.images import read_image
from pnp_ovss.presets import ModelPreset, resolve
from pnp_ovss.prompt import build_prompt, build_prompts
from pnp_ovss.segmenter import Segmenter
from pnp_ovss.trace import Prepared
from pnp_ovss.vlms.base import VisionLanguageModel, check_layer_and_head
from pnp_ovss.vlms.checkpoints.digests import damaged_files
from pnp_ovss.vlms.checkpoints.loading import find_weights, load_vlm, settle

PHOTO = Path(__file__).parent / "testing" / "photos" / "astronaut.jpg"
"""NASA's portrait of Eileen Collins, in the public domain (image S92-40463, as in scikit-image), reduced to 320 px."""
PRESENT = "person"
ABSENT = ("cat", "dog", "sheep", "bicycle", "train", "aeroplane", "boat", "pizza", "sofa", "zebra")
OUTLINE = (
    (97, 20), (130, 8), (175, 15), (190, 60), (190, 110), (220, 180), (265, 215), (305, 245), (320, 290), (320, 320),
    (15, 320), (12, 190), (40, 150), (85, 110),
)  # fmt: skip
"""The person in the photo, (x, y) px: 58 % of it."""
HOTTEST, ON_PERSON = 0.05, 0.8
"""The hottest twentieth of the map must lie on the person to this share. Built-in model at 224 to 448 px: 0.97 to 0.99;
four draws of random weights: 0.08 to 0.27."""
WORDS = ("cat", "dog", "sofa", "tree")
PARAMETERS_SHARE = 0.03
"""How far the parameter count may be from the preset's (heads that matching does not use come and go)."""


@dataclass(frozen=True)
class ModelCheck:
    """What was found. seconds: load, encode, match (all names), attend. peak_mb: of the process; 0 where unknown.

    on_person: share of the map's hottest twentieth on the person of the known answer; None with another photo.
    """

    name: str
    parameters_m: float
    layers: tuple[int, ...]
    heads: int
    grid: tuple[int, int]
    prompt_tokens: int
    match: dict[str, float]
    seconds: dict[str, float]
    peak_mb: int
    on_person: float | None = None


def check_model(
    preset: ModelPreset,
    *,
    device: str = "auto",
    photo: np.ndarray | None = None,
    names: Sequence[str] = (),
    **settings: Any,
) -> ModelCheck:
    """Check the files, load, compare with the preset, tokenize, encode, match and attend once.

    photo, names: (H, W, 3) uint8 and what to look for in it. Without them a small known answer: in NASA's portrait of an
    astronaut the match of "person" must beat ten absent names, and its map must peak on the person. settings: of
    `SegmenterConfig`. Raises ModelError for damaged or missing weights, a wrong head count, layers, parameter count or
    vocabulary, for maps or logits that are not finite or do not depend on patch and word, and for a wrong answer.
    """
    preset = settle(preset)
    config = resolve(preset, **settings).replace(refine="none", policy="all", drops=0, bank="")
    check_files(preset)
    start = time.perf_counter()
    vlm = load_vlm(preset, precision=config.precision, device=device)
    seconds = {"load": time.perf_counter() - start}
    parameters_m = _compare(vlm, preset)
    check_layer_and_head(vlm, config.layer, config.head)
    check_tokens(vlm, config.template)
    segmenter = Segmenter(vlm, config)
    asked = tuple(names) or (PRESENT, *ABSENT)
    prepared = segmenter.prepare(read_image(PHOTO) if photo is None else photo, asked)
    found = _run(vlm, prepared, {**seconds, "encode": prepared.seconds["encode"]}, parameters_m)
    if photo is not None or names:
        return found
    return _with_answer(found, segmenter, prepared)


def check_files(preset: ModelPreset) -> None:
    """Raise ModelError for files that are not what the hub's names or our note say of them."""
    folder = find_weights(preset)
    damaged = [] if folder is None else damaged_files(folder)
    if damaged:
        raise ModelError(
            f"{damaged[0]} is damaged: its content is not what its hash says; `pnp-ovss models fetch {preset.name}` "
            "fetches it again (a converted folder: convert it again)"
        )


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


def check_tokens(vlm: VisionLanguageModel, template: str) -> None:
    """Plain words must be known, in any case, differ, and stand between the model's own first and last token.

    Raises ModelError: a vocabulary that is not read gives [UNK] for all, and without its first token a model reads its
    match from a word.
    """
    prompts = [build_prompt([name], template, vlm.tokenize) for name in WORDS]
    ids = [tuple(prompt.token_ids[i] for i in prompt.spans[0]) for prompt in prompts]
    if len(set(ids)) < len(WORDS):
        raise ModelError(
            f"{vlm.name}: different words have the same tokens {ids}; the vocabulary does not fit the model"
        )
    letters = [name for name, found in zip(WORDS, ids, strict=True) if len(found) >= len(name)]
    if letters:
        raise ModelError(f"{vlm.name}: '{letters[0]}' falls into letters; the vocabulary does not fit the model")
    texts = [prompt.text for prompt in prompts]
    _check_ends(vlm, texts)
    unknown = getattr(getattr(vlm, "tokenizer", None), "unknown", None)
    for text in (*texts, *(text.upper() for text in texts)):
        if unknown is not None and unknown in vlm.tokenize(text).ids:
            raise ModelError(f"{vlm.name}: '{text}' has words that its vocabulary does not know; copy the model's own")


def _check_ends(vlm: VisionLanguageModel, texts: Sequence[str]) -> None:
    tokens = [vlm.tokenize(text) for text in texts]
    for place, index in (("first", 0), ("last", -1)):
        special = all(found.offsets[index] == (0, 0) for found in tokens)
        if not special or len({found.ids[index] for found in tokens}) > 1:
            raise ModelError(
                f"{vlm.name}: the {place} token of a text is a word; the tokenizer adds no [CLS] and [SEP]"
            )


def _run(vlm: VisionLanguageModel, prepared: Prepared, seconds: dict[str, float], parameters_m: float) -> ModelCheck:
    """Match and attend once, and check what comes out."""
    config, image, times = prepared.config, prepared.features, [time.perf_counter()]
    logits = vlm.match(image, [build_prompt([name], config.template, vlm.tokenize) for name in prepared.names])
    times.append(time.perf_counter())
    prompt = build_prompts(prepared.names, config.template, vlm.tokenize, vlm.max_tokens)[0]
    found = vlm.attend(image, prompt, layers=(config.layer,), head=config.head, gradient=config.gradient)[0]
    times.append(time.perf_counter())
    _check_values(f"{vlm.name}: the match logits", logits)
    _check_depends(vlm.name, logits)
    for what, values in (("attention", found.probs), ("gradient", found.grad)):
        _check_values(f"{vlm.name}: the {what}", values)
    steps = zip(("match", "attend"), times, times[1:], strict=False)
    return ModelCheck(
        name=vlm.name,
        parameters_m=round(parameters_m, 1),
        layers=vlm.layers,
        heads=vlm.heads,
        grid=image.grid,
        prompt_tokens=len(prompt.token_ids),
        match=dict(zip(prepared.names, logits.softmax(dim=1)[:, 1].tolist(), strict=True)),
        seconds={**seconds, **{step: end - begin for step, begin, end in steps}},
        peak_mb=peak_memory_mb(),
    )


def _check_values(what: str, values: Tensor | None) -> None:
    if values is None:
        return
    if not bool(torch.isfinite(values).all()):
        raise ModelError(f"{what} are not finite; try precision float32")
    if values.ndim == 3 and float(values.std(dim=-1).max()) == 0:
        raise ModelError(f"{what} is the same at every patch; choose another layer (the last one reads no class token)")


def _check_depends(name: str, logits: Tensor) -> None:
    """The matching head must hear the words: a head of random numbers beside dead text weights gives one value."""
    spread = float((logits[:, 1] - logits[:, 0]).double().std()) if len(logits) > 1 else 1.0
    if spread <= 1e-6 * max(1.0, float(logits.abs().max())):
        raise ModelError(f"{name}: the match does not depend on the word; weights of the text side are missing")


def _with_answer(found: ModelCheck, segmenter: Segmenter, prepared: Prepared) -> ModelCheck:
    """The known answer. Raises ModelError when it is another."""
    present, other = found.match[PRESENT], max(ABSENT, key=found.match.__getitem__)
    if present <= found.match[other]:
        raise ModelError(
            f"{found.name}: known answer wrong: in a portrait of an astronaut '{PRESENT}' matches {present:.3f} and "
            f"'{other}' {found.match[other]:.3f}; the weights do not belong to this architecture, or are untrained"
        )
    alone = segmenter.prepare(prepared.image, (PRESENT,))
    share = _hottest_on_person(segmenter.sum_maps(segmenter.look(alone))[0].float().cpu().numpy())
    if share < ON_PERSON:
        raise ModelError(
            f"{found.name}: known answer wrong: {share:.0%} of the hottest part of the map of '{PRESENT}' lies on the "
            f"person, {ON_PERSON:.0%} should; another layer or head may be meant, or the weights are untrained"
        )
    return replace(found, on_person=round(share, 3))


def _hottest_on_person(heat: np.ndarray) -> float:
    """Which share of the hottest pixels of a map (P_h, P_w) lies in the outline."""
    from PIL import Image, ImageDraw

    size = (320, 320)
    large = np.asarray(Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
    drawn = Image.new("1", size)
    ImageDraw.Draw(drawn).polygon(OUTLINE, fill=1)
    hottest = np.argsort(large, axis=None, kind="stable")[-int(HOTTEST * large.size) :]
    return float(np.asarray(drawn).ravel()[hottest].mean())


def peak_memory_mb() -> int:
    """The largest resident memory that this process had, MB."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if platform.system() == "Darwin" else 2**10))
