"""The frozen result of one segmentation: labels with the evidence for them, able to show and save itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pnp_ovss import result_files, result_forms, verdicts
from pnp_ovss.classes import name_key
from pnp_ovss.errors import ClassNameError
from pnp_ovss.files import file_stem
from pnp_ovss.images import ImageSource, read_image
from pnp_ovss.masks.labels import class_shares
from pnp_ovss.masks.rle import encode_mask
from pnp_ovss.pictures.labels_image import labels_image
from pnp_ovss.provenance import Provenance
from pnp_ovss.values import Value

if TYPE_CHECKING:
    import supervision

    from pnp_ovss.masks.contours import Region


@dataclass(frozen=True, eq=False, repr=False)
class Segmentation(Value):
    """One photo's masks.

    labels: (H, W) uint16, 0 = background, i = the i-th class (from 1). class_names: the K names that were asked.
    scores: (C, H', W') float16 ≥ 0, what the labels were the argmax of before they were rounded; C = the channels that could
    win and (H', W') = (H, W) up to `config.output_px`. channels: (C,), the label of each. maps: (C_k, P_h, P_w) float32, the
    summed saliency of the competing classes before the threshold, kept: the label of each.
    match_scores: {name: score of the class policy in [0, 1], or None where it has none}.
    image: (H, W, 3) uint8, as segmented. provenance: what made it. seconds: wall time by step.
    synonyms: {name: its synonyms}, of the classes that have any. told: the verdicts of a result that was loaded.
    Its arrays are read-only, and its copies' are. `result["dog"]` is a mask; `len` and iteration are over the names found;
    `np.asarray(result)` is `labels`.
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
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return result_forms.one_line(self.image_name, self._size, self.shares)

    def _repr_html_(self) -> str:
        from pnp_ovss.pictures.palette import palette

        colours = palette(len(self.class_names)).tolist()
        rows = [
            result_forms.Row(
                tuple(colours[label]), name, self.shares[name], self.match_scores[name], self.verdict(name)
            )
            for label, name in enumerate(self.class_names, 1)
        ]
        return result_forms.card(self.overlay(legend=False), repr(self), rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.labels, dtype=dtype, copy=copy)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return True  # also where nothing was found: it is a result

    def __iter__(self) -> Iterator[str]:
        return (name for name, share in self.shares.items() if share)

    def __getitem__(self, class_name: str) -> np.ndarray:
        return self.mask(class_name)

    def __contains__(self, class_name: object) -> bool:
        key = name_key(class_name) if isinstance(class_name, str) else None
        return key in self._labels and bool(self.shares[self.class_names[self._labels[key] - 1]])

    @property
    def _size(self) -> tuple[int, int]:
        return self.labels.shape[0], self.labels.shape[1]

    @cached_property
    def shares(self) -> dict[str, float]:
        """{name: share of the photo's pixels in [0, 1]}, every asked class listed."""
        return class_shares(self.labels, self.class_names)

    def mask(self, class_name: str) -> np.ndarray:
        """(H, W) bool, the pixels of one class, by its name or a synonym. Raises ClassNameError for one that was not asked."""
        return self.labels == self._label(class_name)

    def verdict(self, class_name: str) -> str:
        """Why a class has its pixels or none: "found", "found, doubtful: match 0.88 is near 0.87", "0.83 < 0.85", ...

        Raises ClassNameError for a name that was not asked.
        """
        label = self._label(class_name)
        name = self.class_names[label - 1]
        if name in self.told:
            return self.told[name]
        if self.shares[name]:
            return ", doubtful: ".join(filter(None, ("found", ", ".join(self.doubts(name)))))
        if label in self.kept:
            return f"found, lost its pixels to {self._holder(label)}"
        return verdicts.why_not(self.match_scores[name], self.provenance.config)

    def doubts(self, class_name: str) -> tuple[str, ...]:
        """What speaks against a class that was found: a match near the threshold, a map that is strong nearly everywhere."""
        label = self._label(class_name)
        heat = self.maps[self.kept.index(label)] if label in self.kept and len(self.maps) else None
        return verdicts.doubts(self.match_scores[self.class_names[label - 1]], self.provenance.config, heat)

    @cached_property
    def advice(self) -> str:
        """How to go on where nothing was found, or what decided between classes of equal scores; else ""."""
        if not any(self.verdict(name).startswith("found") for name in self.class_names):
            return verdicts.advice(self.match_scores, self.provenance.config)
        return verdicts.equal_scores(self.scores, self.channels, self.class_names)

    @cached_property
    def _labels(self) -> dict[str, int]:
        """{key of each name and synonym: label}."""
        groups = [(name, *self.synonyms.get(name, ())) for name in self.class_names]
        return {name_key(name): label for label, group in enumerate(groups, 1) for name in group}

    def _label(self, class_name: str) -> int:
        label = self._labels.get(name_key(class_name)) if isinstance(class_name, str) else None
        if label is None:
            raise ClassNameError(f"class {class_name!r} was not asked for; asked were {', '.join(self.class_names)}")
        return label

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
        return {
            "image": self.image_name,
            "size": list(self.labels.shape),
            "classes": [self._class_record(i, name) for i, name in enumerate(self.class_names, 1)],
            "advice": self.advice,
            **self.provenance.to_dict(),
            "seconds": {step: round(s, 4) for step, s in self.seconds.items()},
        }

    def _class_record(self, label: int, name: str) -> dict[str, Any]:
        score = self.match_scores[name]
        synonyms = {"synonyms": list(self.synonyms[name])} if self.synonyms.get(name) else {}
        return {
            "id": label,
            "name": name,
            "share": round(self.shares[name], 6),
            "match_score": None if score is None else round(score, 6),
            "verdict": self.verdict(name),
            **synonyms,
        }

    def to_hf(self) -> list[dict[str, Any]]:
        """Hugging Face's image-segmentation convention: [{"score", "label", "mask"}] of the classes found.

        mask: PIL image of mode L, 255 = the class. score: in [0, 1], the class's match times how well mask and map agree; it
        ranks masks (`verdicts.evidence`) and is no probability.
        """
        return result_forms.hugging_face(self._found())

    def to_supervision(self) -> supervision.Detections:
        """supervision's Detections of the classes found: masks, boxes, class ids from 0, names, confidence as in `to_hf`."""
        return result_forms.detections(self._found(), self._size)

    def polygons(self, class_name: str, *, min_region_px: int | None = None) -> list[Region]:
        """The regions of a class: `outer` and `holes`, each (n, 2) corners (x, y) between pixels, (0, 0) top left.

        Filled by the even-odd rule they are the mask, but for regions and holes of fewer than `min_region_px` pixels
        (None: 1/5000 of the photo's; 0 keeps all).
        """
        return result_forms.regions(self.mask(class_name), min_region_px)

    def rle(self, class_name: str) -> dict[str, object]:
        """COCO's {"size": [H, W], "counts": text} of a class."""
        return encode_mask(self.mask(class_name))

    def _found(self) -> list[result_forms.Found]:
        masks = ((label, name, self.labels == label) for label, name in enumerate(self.class_names, 1))
        return [result_forms.Found(i, name, m, self._confidence(i, m)) for i, name, m in masks if m.any()]

    def _confidence(self, label: int, mask: np.ndarray) -> float | None:
        """None for a result that was loaded without its maps."""
        if label not in self.kept or not len(self.maps):
            return None
        heat = self.maps[self.kept.index(label)]
        return verdicts.evidence(mask, heat, self.match_scores[self.class_names[label - 1]])

    def save(self, folder: str | Path, stem: str | None = None, *, scores: bool = False) -> dict[str, Path]:
        """Write STEM.labels.png (indexed; 16 bit over 255 classes), STEM.overlay.png and STEM.json.

        scores: STEM.scores.npz, too: scores, maps and the photo, so that `load` gives all back. Each file is there whole or
        not at all, the JSON last: where it is, the others are. Returns {"labels", "overlay", "json": path}. Raises
        OutputError when the folder cannot be written.
        """
        base = Path(folder) / (stem or file_stem(Path(self.image_name)))
        pictures = {"labels": labels_image(self.labels, len(self.class_names)), "overlay": self.overlay()}
        arrays = {name: np.asarray(getattr(self, name)) for name in result_files.ARRAYS} if scores else None
        return result_files.write_files(base, pictures, self.to_dict(), arrays)

    @classmethod
    def load(cls, folder: str | Path, stem: str | None = None, *, image: ImageSource | None = None) -> Segmentation:
        """A result that `save` or `pnp-ovss segment` wrote; stem: which, where the folder holds several.

        image: the photo. Without it, it is what `save(scores=True)` kept, or else white. Without kept scores `scores` and
        `maps` are empty. Raises DatasetError for what is no result, ImageError for a photo of another size.
        """
        fields = result_files.read_fields(Path(folder), stem)
        if image is not None:
            fields["image"] = result_files.check_photo(read_image(image, web=True), fields["labels"].shape)
        return cls(**fields)
