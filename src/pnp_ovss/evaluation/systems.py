"""What can be evaluated: anything that answers a query about an image with labels, our Segmenter among it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.datasets.base import Dataset
from pnp_ovss.evaluation.records import digest

if TYPE_CHECKING:
    from torch import nn

    from pnp_ovss.segmenter import Segmenter

Classes = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Query:
    """One image to segment.

    image: (H, W, 3) uint8. classes: K classes, each the prompted name and perhaps synonyms. present: the
    labels (from 1) in the ground truth, which only the policy `oracle` and the trivial baselines that say
    so may look at.
    """

    id: str
    image: NDArray[np.uint8]
    classes: Classes
    present: tuple[int, ...]


@dataclass(frozen=True)
class Answer:
    """labels: (H, W) of 0..K. kept: the labels that were allowed to compete, or None for all of them."""

    labels: NDArray[np.integer]
    kept: tuple[int, ...] | None = None


class System(Protocol):
    """Something that segments. One query may be answered in several variants (the rows of an ablation)."""

    def settings(self) -> dict[str, Any]:
        """Plain JSON values that identify what made the numbers: `model`, `method`, `policy`, `refine`, `size`, ..."""
        ...

    def answer(self, query: Query) -> dict[str, Answer]:
        """Variant name -> answer; a plain system has the one variant ''. Raises PnPError if it cannot."""
        ...


@dataclass(frozen=True)
class SegmenterSystem:
    """The method of the paper.

    candidates: {image id: class names} for the policy `file`; the policy `oracle` gets the query's own.
    """

    segmenter: "Segmenter"
    candidates: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """Model, method, policy, refiner, size and the whole configuration."""
        return segmenter_settings(self.segmenter, self.candidates)

    def answer(self, query: Query) -> dict[str, Answer]:
        """The Segmenter's labels."""
        listed = self.candidates
        if self.segmenter.config.policy == "oracle":
            listed = {query.id: [query.classes[label - 1][0] for label in query.present]}
        result = self.segmenter(query.image, query.classes, candidates=listed, image_id=query.id)
        return {"": Answer(result.labels, result.map_labels)}


def segmenter_settings(segmenter: "Segmenter", candidates: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What a report says of a Segmenter; for the policy `file` with a digest of the candidates."""
    config = segmenter.config
    listed = {name: list(classes) for name, classes in candidates.items()}
    return {
        **({"candidates": digest(listed)} if config.policy == "file" else {}),
        "model": segmenter.vlm.name,
        "weights": weights_digest(segmenter.vlm.model),
        "method": segmenter.method,
        "policy": config.policy,
        "refine": segmenter.refiner.name,
        "size": config.size_px,
        "config": config.to_dict(),
    }


def weights_digest(model: "nn.Module") -> str:
    """Twelve hex digits of a model's weights: names, shapes and up to 64 values of each, spread over it.

    Runs with other weights must not be mistaken for the same by their settings.
    """
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        flat = tensor.detach().flatten()
        some = flat[:: max(1, flat.numel() // 64)][:64].float().cpu().numpy()
        digest.update(f"{name} {tuple(tensor.shape)} ".encode() + some.tobytes())
    return digest.hexdigest()[:12]


def dataset_settings(has_background: bool) -> dict[str, Any]:
    """Configuration fields that the kind of data set decides (docs/method.md, steps 0 and 12).

    Without a background every pixel has a class: no background channel, and the best match if none is kept.
    """
    return {} if has_background else {"background": "off", "empty": "best"}


def plain_classes(dataset: Dataset, *, synonyms: bool = False) -> Classes:
    """The classes to prompt: one name each, as in the paper, or all that the vocabulary lists."""
    return dataset.vocabulary.classes if synonyms else tuple((name,) for name in dataset.names)
