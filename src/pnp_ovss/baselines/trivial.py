"""Systems that see nothing: what a number is worth shows in how far it is above theirs."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from pnp_ovss.evaluation.systems import Answer, Query


@dataclass(frozen=True)
class AllBackground:
    """Calls every pixel background."""

    def settings(self) -> dict[str, Any]:
        """Name and policy."""
        return {"model": "background everywhere", "policy": "all"}

    def answer(self, query: Query) -> dict[str, Answer]:
        """Labels (H, W) of zeros; no class competes."""
        return {"": Answer(np.zeros(query.image.shape[:2], dtype=np.int32), ())}


@dataclass(frozen=True)
class RandomLabels:
    """Draws each pixel's label, all equally likely; the same for the same seed and image id."""

    background: bool = True
    seed: int = 0

    def settings(self) -> dict[str, Any]:
        """Name, policy and seed."""
        return {"model": "random labels", "policy": "all", "seed": self.seed, "background": self.background}

    def answer(self, query: Query) -> dict[str, Answer]:
        """Uniform noise over background (if there is one) and classes."""
        key = hashlib.sha256(f"{self.seed}/{query.id}".encode()).digest()
        generator = np.random.default_rng(int.from_bytes(key[:8], "little"))
        first = 0 if self.background else 1
        size = query.image.shape[:2]
        return {"": Answer(generator.integers(first, len(query.classes) + 1, size=size, dtype=np.int32))}


@dataclass(frozen=True)
class TagsEverywhere:
    """Paints the classes of the ground truth over the whole image, in upright stripes of equal width (an
    oracle).

    It knows which classes are there and nothing of where: an oracle-class result must beat it.
    """

    def settings(self) -> dict[str, Any]:
        """Name and policy: it is an oracle."""
        return {"model": "tags on the whole image", "policy": "oracle"}

    def answer(self, query: Query) -> dict[str, Answer]:
        """Stripes, in the vocabulary's order; background if nothing is present."""
        height, width = query.image.shape[:2]
        tags = np.array(query.present or (0,), dtype=np.int32)
        stripe = tags[np.arange(width) * len(tags) // width]
        return {"": Answer(np.tile(stripe, (height, 1)), query.present)}
