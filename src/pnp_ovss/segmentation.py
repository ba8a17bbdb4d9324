"""The frozen result of one segmentation: labels with the evidence for them, able to show and save itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pnp_ovss.errors import ClassNameError
from pnp_ovss.files import write_atomically, write_json
from pnp_ovss.masks.labels import class_shares, resize_nearest
from pnp_ovss.pictures.labels_image import labels_image, png_bytes

if TYPE_CHECKING:
    from pnp_ovss.provenance import Provenance


@dataclass(frozen=True, eq=False)
class Segmentation:
    """One photo's masks.

    labels: (H, W) uint16, 0 = background, i = the i-th class (from 1). class_names: the K names that were asked.
    scores: (C, H', W') float32 ≥ 0, what the labels are the argmax of; C = the channels that could win and
    (H', W') = (H, W) up to `config.output_px`. channels: (C,), the label of each. maps: (C_k, P_h, P_w) float32, the
    summed saliency of the competing classes before the threshold, kept: the label of each.
    match_scores: {name: score of the class policy in [0, 1], or None where it has none}.
    image: (H, W, 3) uint8, as segmented. provenance: what made it. seconds: wall time by step.
    """

    labels: np.ndarray
    class_names: tuple[str, ...]
    scores: np.ndarray
    channels: tuple[int, ...]
    maps: np.ndarray
    kept: tuple[int, ...]
    match_scores: Mapping[str, float | None]
    image: np.ndarray
    image_name: str
    provenance: Provenance
    seconds: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def shares(self) -> dict[str, float]:
        """{name: share of the photo's pixels in [0, 1]}, every asked class listed."""
        return class_shares(self.labels, self.class_names)

    def mask(self, class_name: str) -> np.ndarray:
        """(H, W) bool, the pixels of one class. Raises ClassNameError for a name that was not asked."""
        return self.labels == self._label(class_name)

    def verdict(self, class_name: str) -> str:
        """Why a class has its pixels or none: "found", "found, lost its pixels to grass", "0.83 < 0.85", ...

        Raises ClassNameError for a name that was not asked.
        """
        label = self._label(class_name)
        if self.shares[class_name]:
            return "found"
        if label in self.kept:
            return f"found, lost its pixels to {self._holder(label)}"
        score, config = self.match_scores[class_name], self.provenance.config
        if score is None:
            return "not among the names that may win"
        if score < config.match_threshold:
            return f"{score:.2f} < {config.match_threshold:g}"
        return f"{score:.2f}, behind others (match_relative, match_top_k)"

    def _label(self, class_name: str) -> int:
        if class_name not in self.class_names:
            raise ClassNameError(f"class '{class_name}' was not asked for; asked were {', '.join(self.class_names)}")
        return self.class_names.index(class_name) + 1

    def _holder(self, label: int) -> str:
        """Whose the pixels are where the map of a class is strongest."""
        heat = self.maps[self.kept.index(label)]
        row, column = np.unravel_index(int(heat.argmax()), heat.shape)
        y = int((row + 0.5) / heat.shape[0] * self.labels.shape[0])
        x = int((column + 0.5) / heat.shape[1] * self.labels.shape[1])
        winner = int(self.labels[y, x])
        return self.class_names[winner - 1] if winner else "background"

    def overlay(self, *, legend: bool = True) -> Image.Image:
        """The photo under translucent class colours with outlines and, below it, a legend; mode RGB, 320 to 1600 px."""
        from pnp_ovss.pictures.overlay import draw_overlay

        return draw_overlay(self.image, self.labels, self.class_names, legend=legend)

    def to_dict(self) -> dict[str, Any]:
        """The evidence as plain JSON values: classes with id, name, share and match score, and all settings."""
        classes = [
            {
                "id": i,
                "name": name,
                "share": round(self.shares[name], 6),
                "match_score": _rounded(self.match_scores[name]),
                "verdict": self.verdict(name),
            }
            for i, name in enumerate(self.class_names, 1)
        ]
        return {
            "image": self.image_name,
            "size": list(self.labels.shape),
            "classes": classes,
            **self.provenance.to_dict(),
            "seconds": {step: round(s, 4) for step, s in self.seconds.items()},
        }

    def to_hf(self) -> list[dict[str, Any]]:
        """Hugging Face's image-segmentation convention: [{"score", "label", "mask"}] of the classes found.

        mask: PIL image of mode L, 255 = the class. score: the mean over the mask of the class's share of the scores.
        """
        found = []
        for label, name in enumerate(self.class_names, 1):
            mask = self.labels == label
            if mask.any():
                picture = Image.fromarray(mask.astype(np.uint8) * 255)
                found.append({"score": self._confidence(label, mask), "label": name, "mask": picture})
        return found

    def _confidence(self, label: int, mask: np.ndarray) -> float:
        small = resize_nearest(mask, self.scores.shape[1:])
        total = np.maximum(self.scores.sum(axis=0), 1e-12)
        share = self.scores[self.channels.index(label)] / total
        return float(share[small].mean()) if small.any() else 0.0

    def save(self, folder: str | Path, stem: str | None = None) -> dict[str, Path]:
        """Write STEM.labels.png (indexed; 16 bit over 255 classes), STEM.overlay.png and STEM.json.

        Each is there whole or not at all, the JSON last: where it is, the others are. Returns {"labels", "overlay",
        "json": path}. Raises OutputError when the folder cannot be written.
        """
        stem = stem or Path(self.image_name).stem or "image"
        base = Path(folder)
        paths = {kind: base / f"{stem}.{kind}.png" for kind in ("labels", "overlay")} | {"json": base / f"{stem}.json"}
        write_atomically(paths["labels"], png_bytes(labels_image(self.labels, len(self.class_names))))
        write_atomically(paths["overlay"], png_bytes(self.overlay()))
        write_json(paths["json"], self.to_dict())
        return paths


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
