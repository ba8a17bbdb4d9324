"""FiftyOne: `dataset.apply_model(FiftyOneModel(segmenter, names), label_field="masks")`."""

from __future__ import annotations

import fiftyone as fo
import fiftyone.core.models as fom
import numpy as np

from pnp_ovss.classes import ClassNames, parse_classes
from pnp_ovss.segmenter import Segmenter


class FiftyOneModel(fom.Model):
    """A segmenter with its class names, as a model of FiftyOne.

    mask_targets: {label: name}, for `dataset.default_mask_targets`. Interface: FiftyOne 1.22, `fiftyone.core.models.Model`.
    """

    media_type = "image"
    ragged_batches = True  # photos are of any sizes, so they come one by one
    transforms = None
    preprocess = False

    def __init__(self, segmenter: Segmenter, class_names: ClassNames) -> None:
        self._segmenter, self._classes = segmenter, parse_classes(class_names)
        self.mask_targets = dict(enumerate(self._classes.names, 1))

    def predict(self, arg: np.ndarray) -> fo.Segmentation:
        """The labels of a photo (H, W, 3) uint8; 0 is background."""
        return fo.Segmentation(mask=np.array(self._segmenter(arg, self._classes).labels))
