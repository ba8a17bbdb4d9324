"""The page's work behind its buttons: models kept ready, one photo segmented, files written and removed."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pnp_ovss.classes import parse_classes
from pnp_ovss.errors import ClassNameError, ImageError
from pnp_ovss.images import read_image
from pnp_ovss.segmenter import Segmenter
from pnp_ovss.web.steps import Report, segment_in_steps
from pnp_ovss.web.views import Shown, shrink_photo

MAX_CLASSES = 200
"""Names in one request: a page for many must not be blocked by one."""
KEPT_S = 3600
"""Results and uploads are removed after this time."""
_KEPT_MODELS = 2
_PREFIX = "result-"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """One press of the button: a photo's path, the names as typed, a model, settings of `SegmenterConfig`."""

    photo: str | None
    classes: str
    model: str
    settings: Mapping[str, Any]


class Desk:
    """Segments one order at a time (the page's queue sees to that). load: a model's name to a segmenter."""

    def __init__(self, load: Callable[[str], Segmenter], folder: Path) -> None:
        self._load = load
        self._folder = folder
        self._models: OrderedDict[str, Segmenter] = OrderedDict()

    def segment(self, order: Order, report: Report = lambda _: None) -> Shown:
        """The result of an order, its files written. Raises PnPError, whose text is shown to the person."""
        if not order.photo:
            raise ImageError("there is no photo yet; drop one on the field, or choose an example")
        classes = parse_classes(order.classes)
        if len(classes) > MAX_CLASSES:
            raise ClassNameError(f"{len(classes)} classes were given; this page takes {MAX_CLASSES} at once")
        report("loading the model")
        ready = self.segmenter(order.model)
        chosen = ready.replace(**order.settings)
        name = Path(order.photo).name
        try:
            photo = read_image(order.photo)
        except ImageError as error:  # the person knows the file's name, not where this page keeps it
            raise ImageError(str(error).replace(order.photo, name)) from error
        result, steps = segment_in_steps(chosen, photo, classes, image_id=name, report=report)
        self._sweep()
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._folder))
        files = result.save(folder, Path(name).stem[:80])
        scores = dict(result.match_scores)
        return Shown(shrink_photo(result.image), result.class_names, scores, steps, folder, files)

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


def forget(shown: Shown | None) -> None:
    """Remove the files of a result that nobody looks at any more."""
    if shown is not None:
        shutil.rmtree(shown.folder, ignore_errors=True)
