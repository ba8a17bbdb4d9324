"""Making a bank of names (`pnp_ovss.presence`) from a folder of unlabelled photos, resumable."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from pnp_ovss.automatic import AUTO, asked_classes
from pnp_ovss.datasets.vocabulary import get_vocabulary
from pnp_ovss.errors import ConfigError, ImageError, OutputError, PnPError, attempt
from pnp_ovss.images import read_image
from pnp_ovss.outputs import content
from pnp_ovss.presence import NameBank, bank_margins, look_at, median_of, shift_of
from pnp_ovss.segmenter import Segmenter
from pnp_ovss.settings import check_seed
from pnp_ovss.words import counted

REFERENCE = ("voc20", "coco_object80", "context59")
"""Vocabularies whose names say how often a name is found: the shift is one number for any list, so it needs many."""
SAVED_EVERY = 8
FEWEST = 8

Track = Callable[[Iterable[Path]], Iterable[Path]]


def reference_names() -> tuple[str, ...]:
    """The names of the `REFERENCE` vocabularies, each once."""
    return tuple(dict.fromkeys(name for vocabulary in REFERENCE for name in get_vocabulary(vocabulary).names))


def draw_photos(paths: Sequence[Path], count: int, seed: int) -> list[Path]:
    """`count` of the photos at random, or all of them."""
    return random.Random(check_seed(seed)).sample(sorted(paths), min(count, len(paths)))


def calibrate(segmenter: Segmenter, photos: Sequence[Path], out: Path, *, track: Track = iter) -> NameBank:
    """A bank of these photos and no others, written to `out` as it grows; those in it already are not looked at again.

    The photos' labels, tags or names are not read. Photos that cannot be read are left out. Raises ConfigError when
    fewer than FEWEST are left, or when `out` holds a bank of other weights or of photos of another size.
    """
    bank = _begin(segmenter, out)
    known: dict[str, torch.Tensor] = dict(zip(bank.photos, bank.tokens, strict=True)) if bank else {}
    found: dict[str, torch.Tensor] = {}
    for number, path in enumerate(track(photos), 1):
        digest = content(path)
        if digest in known:
            found[digest] = known[digest]
        elif digest and digest not in found:
            try:
                found[digest] = look_at(segmenter.vlm, read_image(path), segmenter.config, seed=int(digest, 16))
            except ImageError:
                continue
        if number % SAVED_EVERY == 0:
            _bank_of(segmenter, known | found).save(out)
    if len(found) < FEWEST:
        raise ConfigError(
            f"{counted(len(found), 'photo')} could be read; a bank needs at least {FEWEST}, and 64 are better"
        )
    bank = _bank_of(segmenter, found)
    reference = reference_names()
    others = [
        name for name in asked_classes(AUTO).names if name not in reference
    ]  # so that `auto` need not wait for them
    margins = bank_margins(segmenter.vlm, bank, (*reference, *others), segmenter.config.template)
    medians = dict(zip((*reference, *others), median_of(margins).tolist(), strict=True))
    shift = shift_of(margins[:, : len(reference)], bank.match_threshold)
    bank = replace(bank, shift=shift, medians=medians, template=segmenter.config.template)
    bank.save(out)
    return bank


def _begin(segmenter: Segmenter, out: Path) -> NameBank | None:
    found = attempt(NameBank.load, out) if out.exists() else None
    if isinstance(found, PnPError):
        raise OutputError(f"{out} is there and is no bank of names; choose another --out, or move it away")
    bank = found
    if bank is not None and bank.weights != segmenter.weights:
        raise ConfigError(f"{out} is a bank of {bank.model} with other weights; remove it or choose another file")
    size = segmenter.config.size_px
    if bank is not None and bank.size_px not in (0, size):
        raise ConfigError(
            f"{out} is a bank of photos at {bank.size_px} px, asked are {size} px; remove it or choose another file"
        )
    return bank


def _bank_of(segmenter: Segmenter, found: dict[str, torch.Tensor]) -> NameBank:
    threshold = segmenter.config.match_threshold
    tokens = torch.stack(list(found.values()))
    return NameBank(
        tokens,
        segmenter.vlm.name,
        segmenter.weights,
        tuple(found),
        threshold,
        shift=math.nan,
        size_px=segmenter.config.size_px,
    )
