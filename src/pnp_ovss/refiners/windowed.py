"""Refining a large photo piece by piece: windows with margins, so that memory does not grow with the photo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from pnp_ovss.refiners import Evidence, Refiner

WINDOW_PX = 1024
MARGIN_PX = 160
"""What a window sees beyond its own pixels: three standard deviations of the Dense CRF's position kernel."""


@dataclass(frozen=True)
class Windowed:
    """A refiner that sees windows of at most `window_px` and a margin around each, of which the window alone is kept."""

    refiner: Refiner
    window_px: int = WINDOW_PX
    margin_px: int = MARGIN_PX

    @property
    def name(self) -> str:
        """That of the refiner."""
        return self.refiner.name

    def refine(self, image: np.ndarray, scores: torch.Tensor, evidence: Evidence | None = None) -> torch.Tensor:
        """As `Refiner.refine`; a photo no larger than a window is refined as a whole. Each window has its part of the evidence."""
        height, width = image.shape[:2]
        if max(height, width) <= self.window_px + 2 * self.margin_px:
            return self.refiner.refine(image, scores, evidence)
        refined = torch.empty_like(scores, dtype=torch.float32)
        for y in range(0, height, self.window_px):
            for x in range(0, width, self.window_px):
                self._refine_window(image, scores, refined, evidence, (y, x))
        return refined

    def _refine_window(
        self,
        image: np.ndarray,
        scores: torch.Tensor,
        refined: torch.Tensor,
        evidence: Evidence | None,
        corner: tuple[int, int],
    ) -> None:
        y, x = corner
        (top, bottom), (left, right) = (
            (max(0, start - self.margin_px), min(size, start + self.window_px + self.margin_px))
            for start, size in zip(corner, image.shape[:2], strict=True)
        )
        seen = np.s_[top:bottom, left:right]
        shares = [(a / size, b / size) for a, b, size in ((top, bottom, image.shape[0]), (left, right, image.shape[1]))]
        known = None if evidence is None else evidence.part(*shares)
        part = self.refiner.refine(image[seen], scores[(slice(None), *seen)], known)
        own = np.s_[:, y : y + self.window_px, x : x + self.window_px]
        height, width = refined[own].shape[1:]
        refined[own] = part[:, y - top : y - top + height, x - left : x - left + width]
