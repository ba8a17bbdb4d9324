"""The page's work behind its buttons: models kept ready, one photo segmented, files written and removed."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pnp_ovss.automatic import AUTO, Automatic, asked_classes
from pnp_ovss.classes import Classes
from pnp_ovss.errors import ClassNameError, ImageError
from pnp_ovss.images import read_image
from pnp_ovss.segmentation import Segmentation
from pnp_ovss.segmenter import Segmenter
from pnp_ovss.trace import Prepared, Trace
from pnp_ovss.web.proposals import PROPOSALS, label_and_look
from pnp_ovss.web.step import Step, shrink_labels
from pnp_ovss.web.steps import Report, segment_in_steps
from pnp_ovss.web.views import Shown, shrink_photo

MAX_CLASSES = 200
"""Names in one request: a page for many must not be blocked by one."""
KEPT_S = 3600
"""Results and uploads are removed after this time."""
_KEPT_MODELS = 2
_KEPT_TRACES = 20
"""Results whose thresholds can be moved; older ones would need another run."""
_PREFIX = "result-"

log = logging.getLogger(__name__)


class Desk:
    """Segments one photo at a time (the page's queue sees to that). load: a model's name to a segmenter."""

    def __init__(self, load: Callable[[str], Segmenter], folder: Path) -> None:
        self._load = load
        self._folder = folder
        self._models: OrderedDict[str, Segmenter] = OrderedDict()
        self._kept: OrderedDict[Path, _Kept] = OrderedDict()

    def segment(
        self, photo: str | None, names: str, model: str, settings: Mapping[str, Any], report: Report = lambda _: None
    ) -> Shown:
        """The result of one press of the button, its files written. Raises PnPError, whose text is shown to the person.

        photo: its path. names: as typed. settings: of `SegmenterConfig`.
        """
        place, classes = _asked(photo, names)
        report("loading the model")
        chosen = self.segmenter(model).replace(**settings)
        name = Path(place).name
        try:
            image = read_image(place)
        except ImageError as error:  # the person knows the file's name, not where this page keeps it
            raise ImageError(str(error).replace(place, name)) from error
        result, steps, trace = segment_in_steps(chosen, image, classes, image_id=name, report=report)
        self._sweep()
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._folder))
        self._kept[folder] = _Kept(chosen, trace, steps, folder)
        while len(self._kept) > _KEPT_TRACES:
            self._kept.popitem(last=False)
        return self._kept[folder].show(result, steps)

    def relabel(self, shown: Shown, threshold: float, match_threshold: float) -> Shown | None:
        """The same result decided anew, without another run of the model; None where it is no longer kept.

        A number that was typed out of its range is taken for the nearest in it.
        """
        kept = self._kept.get(shown.folder)
        lowest = shown.lowest_match
        return kept.shown(min(max(threshold, 0.0), 1.0), min(max(match_threshold, lowest), 1.0)) if kept else None

    def answer(self, photo: str | None, names: str, model: str) -> dict[str, Any]:
        """A result as JSON values, with COCO's run lengths of what was found; no file is written. Raises PnPError."""
        photo, classes = _asked(photo, names)
        result = self.segmenter(model)(read_image(Path(photo)), classes, image_name=Path(photo).name)
        return {**result.to_dict(), "rle": {name: result.rle(name) for name in result}}

    def segmenter(self, model: str) -> Segmenter:
        """The model, loaded once; the two used last are kept."""
        if model not in self._models:
            self._models[model] = self._load(model)
        self._models.move_to_end(model)
        while len(self._models) > _KEPT_MODELS:
            self._models.popitem(last=False)
        return self._models[model]

    def _sweep(self) -> None:
        """Remove old results, whatever became of the tabs that they were for."""
        for folder in self._folder.glob(f"{_PREFIX}*"):
            if time.time() - folder.stat().st_mtime > KEPT_S:
                shutil.rmtree(folder, ignore_errors=True)


def _asked(photo: str | None, names: str) -> tuple[str, Classes]:
    """What was asked, if it can be. Raises ImageError, ClassNameError."""
    if not photo:
        raise ImageError("there is no photo yet; drop one on the field, or choose an example")
    return photo, bounded_classes(names, "this page")


def bounded_classes(names: str, who: str) -> Classes:
    """The classes of a stranger's text, not of files here, and not too many; who: takes them. Raises ClassNameError."""
    classes = asked_classes(names, files=False)
    if len(classes) > MAX_CLASSES and not isinstance(classes, Automatic):
        raise ClassNameError(f"{len(classes)} classes were given; {who} takes {MAX_CLASSES} at once")
    return classes


@dataclass(frozen=True)
class _Kept:
    """What a result is decided from, kept so that two thresholds can be moved without another run of the model."""

    segmenter: Segmenter
    trace: Trace
    steps: list[Step]
    folder: Path

    def shown(self, threshold: float, match_threshold: float) -> Shown:
        """The result with these thresholds. Below the run's own match threshold no class was looked at."""
        prepared = self.trace.prepared
        chosen = self.segmenter.replace(threshold=threshold, match_threshold=match_threshold)
        sure = [
            group[0]
            for group, score in zip(prepared.classes, prepared.match_scores, strict=False)
            if score is None or score >= match_threshold or not _by_match(prepared)
        ]
        result, asked = label_and_look(chosen, self.trace.keep(sure))
        *before, last = self.steps
        kept = [step for step in before if step.name != PROPOSALS]  # they are others now
        return self.show(result, [*kept, *asked, replace(last, labels=shrink_labels(result.labels))])

    def show(self, result: Segmentation, steps: list[Step]) -> Shown:
        """A result of the trace and its steps, its files written."""
        own, config = self.segmenter.config, result.provenance.config
        return Shown(
            photo=shrink_photo(result.image),
            class_names=result.class_names,
            match_scores=dict(result.match_scores),
            steps=steps,
            folder=self.folder,
            files=result.save(self.folder, Path(result.image_name).stem[:80]),
            threshold=config.threshold,
            match_threshold=config.match_threshold,
            verdicts={name: result.verdict(name) for name in result.class_names},
            advice=result.advice,
            lowest_match=own.match_threshold if _by_match(self.trace.prepared) else 0.0,
        )


def _by_match(prepared: Prepared) -> bool:
    return prepared.policy.partition(":")[0] in ("itm", AUTO)


def forget(shown: Shown | None) -> None:
    """Remove the files of a result that nobody looks at any more."""
    if shown is not None:
        shutil.rmtree(shown.folder, ignore_errors=True)
