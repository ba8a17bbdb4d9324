"""Is a name in the photo? The model's own matching, calibrated for the name by photos that nobody labelled.

Some names match everything a little: "wall" gets a higher logit on a photo without one than "zebra". What a name gets on
photos that were taken for no particular name, its median over a *bank*, says how much, and a part of it is taken off. Ours;
docs/method.md has what was measured.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pnp_ovss.competition import logit, sigmoid
from pnp_ovss.config import SegmenterConfig
from pnp_ovss.errors import ConfigError
from pnp_ovss.files import write_atomically
from pnp_ovss.gradcam import match_logits
from pnp_ovss.images import normalise_pixels, to_pixels
from pnp_ovss.prompt import build_prompts
from pnp_ovss.provenance import fingerprint
from pnp_ovss.vlms.base import ImageFeatures, MatchesPhotos, VisionLanguageModel, rounded_half
from pnp_ovss.words import counted

SHARE_OF_MEDIAN = 0.25
"""Of its median, by which a name is moved: more helps among things and harms in rooms, whose names are often there."""
PATCHES = 24
"""Patches kept of each photo, drawn at random: enough for a median, and nobody can see the photo again."""
MANTISSA_BITS = 5
"""Of a bank's tokens: it compresses by a quarter, and medians move by less than 0.01."""


@dataclass(frozen=True, eq=False)
class NameBank:
    """What a model saw of unlabelled photos, against which any name can be matched.

    tokens: (photos, ...) float16, each photo's `ImageFeatures.tokens`, rounded. model, weights: whose they are. photos: digests
    of the photos' bytes. match_threshold: the probability that `shift` belongs to. shift: t, the logit that a name less
    SHARE_OF_MEDIAN of its median must reach to be found as often on the bank as it would be by `match_threshold` without
    a bank; NaN in a bank that is not finished.
    medians: {name: its median over the bank} of names that are asked for often, by the prompt `template`. size_px: the side
    at which the photos were looked at, 0 where the file does not tell.
    """

    tokens: Tensor
    model: str
    weights: str
    photos: tuple[str, ...]
    match_threshold: float
    shift: float
    medians: Mapping[str, float] = field(default_factory=dict)
    template: str = ""
    size_px: int = 0

    def __len__(self) -> int:
        return len(self.photos)

    def features(self, vlm: VisionLanguageModel) -> Iterable[ImageFeatures]:
        """Each photo as `match` takes it, in the model's precision."""
        kind = next(vlm.model.parameters()).dtype
        for tokens in self.tokens:
            yield ImageFeatures(tokens.to(vlm.device, kind), (1, PATCHES))

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all. Raises OutputError."""
        from safetensors.torch import save

        facts = {"model": self.model, "weights": self.weights, "photos": " ".join(self.photos)}
        facts |= {"match_threshold": repr(self.match_threshold), "shift": repr(self.shift), "template": self.template}
        facts |= {"size_px": str(self.size_px)}
        facts |= {"medians": json.dumps({name: round(median, 6) for name, median in self.medians.items()})}
        write_atomically(path, save({"tokens": self.tokens.contiguous()}, metadata=facts))

    @classmethod
    def load(cls, name: str | Path) -> NameBank:
        """From a file, or by the name of one that comes with the package. Raises ConfigError for anything else."""
        from safetensors import SafetensorError, safe_open

        built_in = resources.files("pnp_ovss") / "weights" / f"{name}.bank.safetensors"
        path = Path(str(built_in)) if built_in.is_file() else Path(name)
        try:
            with safe_open(str(path), "pt") as file:
                facts, tokens = file.metadata() or {}, file.get_tensor("tokens")
            numbers = {key: float(facts[key]) for key in ("match_threshold", "shift")}
            known = {str(name): float(median) for name, median in json.loads(facts.get("medians", "{}")).items()}
            photos = tuple(facts["photos"].split())
            kept = (tokens, facts["model"], facts["weights"], photos)
            size = int(facts.get("size_px", 0))
            return cls(*kept, **numbers, medians=known, template=facts.get("template", ""), size_px=size)
        except FileNotFoundError as error:
            raise ConfigError(f"bank = '{name}': there is no such file; make it with `pnp-ovss calibrate`") from error
        except (OSError, SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"bank = '{name}' is no bank of names ({error}); make it with `pnp-ovss calibrate`"
            ) from error


def get_bank(config: SegmenterConfig, vlm: VisionLanguageModel) -> NameBank | None:
    """The configured bank, if any. Raises ConfigError for one of other weights, or one that is not finished."""
    bank = NameBank.load(config.bank) if config.bank else None
    if bank is not None and config.precision == "float32" and bank.weights != (own := fingerprint(vlm.model)):
        raise ConfigError(
            f"bank = '{config.bank}' was made with weights {bank.weights} of {bank.model}, and these are {own} of "
            f"{vlm.name}; make one with `pnp-ovss calibrate`"
        )
    if bank is not None and math.isnan(bank.shift):
        raise ConfigError(
            f"bank = '{config.bank}' is not finished: it has {counted(len(bank), 'photo')}; run the same `pnp-ovss calibrate` again"
        )
    return bank


@dataclass(eq=False)
class Presence:
    """How sure a model is that names are in a photo; with a bank, calibrated for each name, which is matched with it once."""

    vlm: VisionLanguageModel
    template: str
    bank: NameBank | None = None
    _medians: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.bank is not None and self.bank.template == self.template:
            self._medians |= self.bank.medians

    def __call__(self, features: ImageFeatures, names: Sequence[str]) -> list[float]:
        """The probability of each name, in [0, 1]: without a bank that of the model's matching."""
        logits = match_logits(self.vlm, features, names, self.template)
        if self.bank is None:
            return logits.softmax(dim=1)[:, 1].tolist()
        moved = self.bank.shift - logit(self.bank.match_threshold)
        margins = (logits[:, 1] - logits[:, 0]).tolist()
        medians = self.medians(names)
        return [sigmoid(s - SHARE_OF_MEDIAN * medians[name] - moved) for s, name in zip(margins, names, strict=True)]

    def medians(self, names: Sequence[str]) -> dict[str, float]:
        """{name: the median over the bank of its match − no-match logit}."""
        new = [name for name in dict.fromkeys(names) if name not in self._medians]
        if new and self.bank is not None:
            margins = bank_margins(self.vlm, self.bank, new, self.template)
            self._medians |= dict(zip(new, median_of(margins).tolist(), strict=True))
        return {name: self._medians[name] for name in names}


def median_of(rows: np.ndarray) -> np.ndarray:
    """Of each column; `np.median` without its import of masked arrays, a twentieth of a cold command."""
    middle = np.sort(rows, axis=0)[(len(rows) - 1) // 2 : len(rows) // 2 + 1]
    return middle.mean(axis=0)


def bank_margins(vlm: VisionLanguageModel, bank: NameBank, names: Sequence[str], template: str) -> np.ndarray:
    """Match − no-match logits (photos, names) of every photo of the bank."""
    if isinstance(vlm, MatchesPhotos):
        prompts = [p for name in names for p in build_prompts([name], template, vlm.tokenize, vlm.max_tokens)]
        tokens = bank.tokens.to(vlm.device, next(vlm.model.parameters()).dtype)
        logits = vlm.match_photos(tokens, prompts)
    else:
        logits = torch.stack([match_logits(vlm, photo, names, template) for photo in bank.features(vlm)])
    return (logits[..., 1] - logits[..., 0]).float().cpu().numpy()


def shift_of(margins: np.ndarray, match_threshold: float) -> float:
    """t of a bank: with it as many (photo, name) pairs are found after centring as by the plain threshold before.

    margins: (photos, names) logits. No label is read.
    """
    found = int((margins >= logit(match_threshold)).sum())
    centred = np.sort((margins - SHARE_OF_MEDIAN * np.median(margins, axis=0)).ravel())[::-1]
    return float(centred[min(max(found, 1), centred.size) - 1])


def look_at(vlm: VisionLanguageModel, photo: np.ndarray, config: SegmenterConfig, seed: int) -> Tensor:
    """One photo for the bank: the tokens of PATCHES patches drawn at random, rounded."""
    side = config.size_px
    pixels = normalise_pixels(to_pixels(photo, (side, side)), vlm.mean, vlm.std)
    count = (side // vlm.patch_px) ** 2
    chosen = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:PATCHES]
    visible = torch.zeros(count, dtype=torch.bool)
    visible[chosen] = True
    return rounded_half(vlm.encode(pixels, visible.to(vlm.device)).tokens, MANTISSA_BITS)
