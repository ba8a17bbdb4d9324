"""What can be evaluated: anything that answers a query about an image with labels, our Segmenter among it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pnp_ovss.candidates import Candidates
from pnp_ovss.datasets.base import Dataset
from pnp_ovss.provenance import digest, recorded

if TYPE_CHECKING:
    from pnp_ovss.segmenter import Segmenter
    from pnp_ovss.trace import Prepared

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
        """Model, method, policy, refiner, size and the whole configuration; for policy `file` a digest of the candidates."""
        segmenter, config = self.segmenter, self.segmenter.config
        listed = {name: list(classes) for name, classes in self.candidates.names.items()}
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

    def answer(self, query: Query) -> dict[str, Answer]:
        """The Segmenter's labels."""
        result = self.segmenter.label(self.segmenter.look(self.prepare(query)))
        found = [score for score in result.match_scores.values() if score is not None]
        scores = tuple(found) if len(found) == len(query.classes) else None
        return {"": Answer(result.labels, result.kept, scores)}

    def prepare(self, query: Query) -> "Prepared":
        """The query's image; for policy `oracle` its own classes may win, for `file` the listed ones."""
        policy, keep = self.segmenter.config.policy, None
        if policy == "oracle":
            keep = [query.classes[label - 1][0] for label in query.present]
        elif policy == "file":
            keep = self.candidates.of(query.id)
        return self.segmenter.prepare(query.image, query.classes, keep=keep, image_name=query.id)


def dataset_settings(has_background: bool) -> dict[str, Any]:
    """Configuration fields that the kind of data set decides (docs/method.md, steps 0 and 12).

    Without a background every pixel has a class: no background channel, and the best match if none is kept.
    """
    return {} if has_background else {"background": "none", "empty": "best"}


def plain_classes(dataset: Dataset, *, synonyms: bool = False) -> Classes:
    """The classes to prompt: one name each, as in the paper, or all that the vocabulary lists."""
    return dataset.vocabulary.classes if synonyms else tuple((name,) for name in dataset.names)
