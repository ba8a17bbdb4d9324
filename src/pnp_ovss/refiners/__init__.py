"""Refiners: sharpen per-class scores along the edges of the picture. See docs/refiners.md.

A refiner is any object with a `name` and a `refine(image, scores, evidence)`: pass your own wherever a refiner's name is
taken.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pnp_ovss.errors import ConfigError
from pnp_ovss.images import resize_to

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["Evidence", "Refiner", "get_refiner", "list_refiners", "refine_photo"]

log = logging.getLogger(__name__)

_REFINERS = {
    "densecrf": ("pnp_ovss.refiners.densecrf", "DenseCRF"),
    "densecrf-compiled": ("pnp_ovss.refiners.compiled", "CompiledCRF"),
    "densecrf-reference": ("pnp_ovss.refiners.reference", "ReferenceCRF"),
    "pamr": ("pnp_ovss.refiners.pamr", "PAMR"),
    "sam": ("pnp_ovss.refiners.sam", "SAM"),
    "none": ("pnp_ovss.refiners.unrefined", "Unrefined"),
}
TRAINED_ON_MASKS = "trained on masks"
"""What the name of a refiner that learned from masks says: reports keep its figures apart from mask-free ones."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the channels of a refiner's scores stand for.

    names: (C,) the class of each, "" for background. maps: (C, P_h, P_w) float32 ≥ 0, the summed maps from which the scores
    were made, before the threshold; zeros for background.
    """

    names: tuple[str, ...]
    maps: torch.Tensor

    @classmethod
    def of(cls, total: torch.Tensor, rows: Sequence[int | None], names: Sequence[str]) -> Evidence:
        """For channels that are `rows` of the summed maps `total` (K, P_h, P_w) of `names` (K,), None for background."""
        maps = total.new_zeros(len(rows), *total.shape[1:])
        for channel, row in enumerate(rows):
            if row is not None:
                maps[channel] = total[row]
        return cls(tuple("" if row is None else names[row] for row in rows), maps)

    def part(self, rows: tuple[float, float], columns: tuple[float, float]) -> Evidence:
        """That of a window of the photo, from and to these shares of its height and width; maps of about its cells."""
        import torch
        from torch.nn import functional as F

        spans = [(end - start, end + start - 1) for start, end in (columns, rows)]  # of [-1, 1]: scale, shift
        (wide, x), (high, y) = spans
        cells = [
            max(1, round(share * size)) for share, size in ((high, self.maps.shape[1]), (wide, self.maps.shape[2]))
        ]
        to_window = torch.tensor([[[wide, 0, x], [0, high, y]]], dtype=self.maps.dtype, device=self.maps.device)
        grid = F.affine_grid(to_window, [1, 1, *cells], align_corners=False)
        maps = F.grid_sample(self.maps[None], grid, mode="bilinear", padding_mode="border", align_corners=False)
        return Evidence(self.names, maps[0])


@runtime_checkable
class Refiner(Protocol):
    """What every refiner does; `pnp_ovss.testing.refiner_contract` checks it."""

    @property
    def name(self) -> str:
        """The refiner's name, as in `get_refiner`; with `TRAINED_ON_MASKS` in it where that is so."""
        ...

    def refine(self, image: np.ndarray, scores: torch.Tensor, evidence: Evidence | None = None) -> torch.Tensor:
        """Refined scores (C, H, W) float32, on the device of `scores`, whose argmax over channels is the label.

        image: (H, W, 3) uint8 RGB. scores: (C, H, W), non-negative, any floating dtype, on any device; a background
        channel may come first. evidence: each channel's name and class map, where they are known. None of them is written
        to. Raises RefinerError for other shapes, NaN or infinity.
        """
        ...


def list_refiners() -> list[str]:
    """Names that `get_refiner` knows.

    >>> list_refiners()
    ['densecrf', 'densecrf-compiled', 'densecrf-reference', 'pamr', 'sam', 'none']
    """
    return list(_REFINERS)


def get_refiner(name: str, **options: object) -> Refiner:
    """The refiner called `name`, with `options` for the fields of its class.

    Raises ConfigError for an unknown name or option or a bad value, DependencyError for a missing optional package.

    >>> get_refiner("densecrf", iterations=5).iterations
    5
    """
    if name not in _REFINERS:
        raise ConfigError(f"refiner {name!r} is unknown: use one of {', '.join(_REFINERS)}")
    module, attribute = _REFINERS[name]
    factory = getattr(importlib.import_module(module), attribute)
    unknown = sorted(set(options) - set(factory.__dataclass_fields__))
    if unknown:
        known = ", ".join(factory.__dataclass_fields__) or "none"
        raise ConfigError(f"refiner {name!r} has no option {', '.join(unknown)}: its options are {known}")
    return factory(**options)


def _refine(refiner: Refiner, photo: np.ndarray, scores: torch.Tensor, evidence: Evidence | None) -> torch.Tensor:
    """On the CPU where the device lacks an operation: MPS has no embedding_bag, the Dense CRF's, before torch 2.10."""
    try:
        return refiner.refine(photo, scores, evidence)
    except NotImplementedError as error:
        if scores.device.type == "cpu":
            raise
        _say_on_cpu(str(scores.device), str(error).split("\n")[0][:200])
        there = None if evidence is None else replace(evidence, maps=evidence.maps.cpu())
        return refiner.refine(photo, scores.cpu(), there)


@cache
def _say_on_cpu(device: str, reason: str) -> None:
    log.warning("the refiner works on the CPU, %s cannot do it (%s)", device, reason)


def refine_photo(
    refiner: Refiner,
    photo: np.ndarray,
    scores: torch.Tensor,
    evidence: Evidence | None = None,
    *,
    keep: float = 0.0,
) -> torch.Tensor:
    """Refined scores (C, H', W') along a photo (H, W, 3) uint8 of any size; one channel alone is left as it is.

    keep: the share of its pixels, those it wins in `scores`, that refining leaves to every channel at the least, whatever
    the refiner does (`cores.hold_cores`); 0 leaves the refiner's result as it is, bit for bit.
    """
    if len(scores) == 1:
        return scores
    refined = _refine(refiner, resize_to(photo, scores.shape[1:]), scores, evidence)
    if not keep:
        return refined
    from pnp_ovss.refiners.cores import hold_cores

    return hold_cores(scores, refined, keep)
