"""What can be evaluated: anything that answers a query about an image with labels, our Segmenter among it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.candidates import Candidates
from pnp_ovss.datasets.base import Dataset
from pnp_ovss.provenance import digest, recorded

if TYPE_CHECKING:
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
    """labels: (H, W) of 0..K. kept: the labels that were allowed to compete, or None for all of them.

    scores: (K,) in [0, 1], how sure the policy was that each class is there, or None where it asked nothing.
    """

    labels: NDArray[np.integer]
    kept: tuple[int, ...] | None = None
    scores: tuple[float, ...] | None = None


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

    candidates: the names for each image, for the policy `file`; the policy `oracle` gets the query's own.
    """

    segmenter: "Segmenter"
    candidates: Candidates = Candidates()

    def settings(self) -> dict[str, Any]:
        """Model, method, policy, refiner, size and the whole configuration."""
        return segmenter_settings(self.segmenter, self.candidates)

    def answer(self, query: Query) -> dict[str, Answer]:
        """The Segmenter's labels."""
        result = self.segmenter(
            query.image,
            query.classes,
            keep=names_that_may_win(self.segmenter, query, self.candidates),
            image_name=query.id,
        )
        found = [score for score in result.match_scores.values() if score is not None]
        scores = tuple(found) if len(found) == len(query.classes) else None
        return {"": Answer(result.labels, result.kept, scores)}


def names_that_may_win(segmenter: "Segmenter", query: Query, candidates: Candidates) -> Sequence[str] | None:
    """`keep=` for one query: its own classes for the policy `oracle`, the listed ones for `file`, else None."""
    if segmenter.config.policy == "oracle":
        return [query.classes[label - 1][0] for label in query.present]
    return candidates.of(query.id) if segmenter.config.policy == "file" else None


def segmenter_settings(segmenter: "Segmenter", candidates: Candidates) -> dict[str, Any]:
    """What a report says of a Segmenter; for the policy `file` with a digest of the candidates."""
    config = segmenter.config
    listed = {name: list(classes) for name, classes in candidates.names.items()}
    return {
        **({"candidates": digest(listed)} if config.policy == "file" else {}),
        "model": segmenter.vlm.name,
        "weights": segmenter.weights,
        "method": segmenter.method,
        "policy": config.policy if config.policy in ("file", "oracle") else segmenter.policy.name,
        "refine": segmenter.refiner.name,
        "size": config.size_px,
        "config": recorded(config).to_dict(),
    }


def dataset_settings(has_background: bool) -> dict[str, Any]:
    """Configuration fields that the kind of data set decides (docs/method.md, steps 0 and 12).

    Without a background every pixel has a class: no background channel, and the best match if none is kept.
    """
    return {} if has_background else {"background": "none", "empty": "best"}


def plain_classes(dataset: Dataset, *, synonyms: bool = False) -> Classes:
    """The classes to prompt: one name each, as in the paper, or all that the vocabulary lists."""
    return dataset.vocabulary.classes if synonyms else tuple((name,) for name in dataset.names)
