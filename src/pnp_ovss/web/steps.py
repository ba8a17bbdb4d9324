"""One segmentation with the masks of every step between, for the page's slider: Fig. 2 of the paper, made of labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pnp_ovss.config import SegmenterConfig
from pnp_ovss.images import ImageSource, limited_size
from pnp_ovss.postprocess import label_image
from pnp_ovss.prompt import Prompt
from pnp_ovss.refiners import get_refiner
from pnp_ovss.saliency import SaliencyPass
from pnp_ovss.segmentation import Segmentation
from pnp_ovss.segmenter import Segmenter
from pnp_ovss.vlms.base import ImageFeatures, VisionLanguageModel

LONGEST_PX = 1024
"""Steps are shown, and computed, at this longer side."""

Report = Callable[[str], None]
ClassList = str | Iterable[str | Sequence[str]]


@dataclass(frozen=True)
class Step:
    """The masks after one step. labels: (h, w) uint16. seen: (P_h, P_w) bool, the patches that its pass could see."""

    name: str
    text: str
    labels: NDArray[np.uint16]
    seen: NDArray[np.bool_] | None = None


@dataclass
class Observed:
    """What a segmentation went through."""

    passes: list[SaliencyPass] = field(default_factory=list)
    prompted: tuple[Tensor, Sequence[str]] | None = None
    groups: list[list[int]] = field(default_factory=list)
    kept: tuple[int, ...] = ()
    unrefined: NDArray[np.uint16] | None = None


class ObservedSegmenter(Segmenter):
    """A segmenter that says what it does and keeps what lies between; the results are the plain segmenter's."""

    def __init__(self, vlm: VisionLanguageModel, config: SegmenterConfig, *, method: str, report: Report) -> None:
        super().__init__(vlm, config, method=method)
        self.observed = Observed()
        self._report = report

    def saliency_passes(
        self, pixels: Tensor, names: Sequence[str], whole: ImageFeatures | None = None
    ) -> list[SaliencyPass]:
        """As the segmenter's, kept."""
        self.observed.prompted = (pixels, names)
        self.observed.passes = super().saliency_passes(pixels, names, whole)
        return self.observed.passes

    def summed_maps(self, passes: Sequence[SaliencyPass], groups: list[list[int]]) -> Tensor:
        """As the segmenter's; which rows are synonyms is kept."""
        self.observed.groups = groups
        return super().summed_maps(passes, groups)

    def label_scores(self, total: Tensor, kept: Sequence[int], size: tuple[int, int]) -> tuple[Tensor, tuple[int, ...]]:
        """As the segmenter's; the labels they would give before the refiner are kept."""
        scores, channels = super().label_scores(total, kept, size)
        self.observed.kept = tuple(kept)
        self.observed.unrefined = label_image(scores, channels, display_size(size))
        self._report(f"refining with {self.config.refine}")
        return scores, channels

    def _gradcam(self, features: ImageFeatures, prompts: Sequence[Prompt], kept: Tensor) -> tuple[Tensor, Tensor]:
        share = 100 * float(kept.float().mean())
        self._report(f"looking at {share:.3g} % of the patches")
        return super()._gradcam(features, prompts, kept)


def segment_in_steps(
    segmenter: Segmenter, image: ImageSource, class_names: ClassList, *, image_id: str, report: Report
) -> tuple[Segmentation, list[Step]]:
    """The result of `segmenter` and its steps: attention, GradCAM, each drop, blur, refiner.

    Without a class that competes there is one step, the result. Raises what the segmenter raises.
    """
    observer = ObservedSegmenter(segmenter.vlm, segmenter.config, method=segmenter.method, report=report)
    result = observer(image, class_names, image_id=image_id)
    seen = observer.observed
    final = Step("result", "The labels.", shrink_labels(result.labels))
    if seen.prompted is None or seen.unrefined is None:
        return result, [final]
    steps = [_attention(observer), *_rounds(observer)]
    blurred = "Masks smoothed by a Gaussian: T of §3.3 and the blur of Table 2."
    steps.append(Step("blur", blurred, seen.unrefined))
    if segmenter.config.refine != "none":
        text = "Edges moved to those of the photo: the result."
        steps.append(Step(f"refiner {segmenter.config.refine}", text, final.labels))
    return result, steps


def display_size(size: tuple[int, int]) -> tuple[int, int]:
    """(h, w) px at which a (H, W) photo is shown.

    >>> display_size((3000, 4096))
    (750, 1024)
    """
    return limited_size(size, LONGEST_PX)


def shrink_labels(labels: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """(H, W) labels at display size, nearest pixels."""
    height, width = display_size((labels.shape[0], labels.shape[1]))
    picture = Image.fromarray(labels.astype(np.int32)).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(picture).astype(np.uint16)


def _attention(observer: ObservedSegmenter) -> Step:
    """Masks of the plain cross-attention, first row of Table 5."""
    assert observer.observed.prompted is not None
    config = observer.config.replace(gradient="none", drops=0)
    pixels, names = observer.observed.prompted
    with torch.no_grad():
        passes = _plain(observer, config).saliency_passes(pixels, names)
    text = f"Cross-attention of layer {config.layer}, head {config.head}: where the words look, before any gradient."
    return Step("attention", text, _labels(observer, config, passes), _kept(passes[0]))


def _rounds(observer: ObservedSegmenter) -> list[Step]:
    """GradCAM, and the sum after each Saliency DropOut."""
    passes, steps = observer.observed.passes, []
    for count, last in enumerate(passes, 1):
        share = 100 * float(last.kept.float().mean())
        if count == 1:
            name, text = (
                "GradCAM",
                "Attention weighted by its gradient (Eq. 1): what raises the match of photo and text.",
            )
        else:
            name = f"drop {count - 1}"
            text = f"The most salient patches are black, {share:.3g} % are left; the maps of {count} passes are summed."
        steps.append(Step(name, text, _labels(observer, observer.config, passes[:count]), _kept(last)))
    return steps


def _labels(observer: ObservedSegmenter, config: SegmenterConfig, passes: Sequence[SaliencyPass]) -> NDArray[np.uint16]:
    """Threshold and argmax of these passes, without blur and refiner: how every row of Table 5 ends."""
    plain, seen = _plain(observer, config.replace(blur=0.0)), observer.observed
    assert seen.unrefined is not None
    size = (seen.unrefined.shape[0], seen.unrefined.shape[1])
    scores, channels = plain.label_scores(plain.summed_maps(passes, seen.groups), seen.kept, size)
    return label_image(scores, channels, size)


def _plain(observer: ObservedSegmenter, config: SegmenterConfig) -> Segmenter:
    return Segmenter(observer.vlm, config, refiner=get_refiner("none"))


def _kept(seen: SaliencyPass) -> NDArray[np.bool_]:
    return seen.kept.cpu().numpy()
