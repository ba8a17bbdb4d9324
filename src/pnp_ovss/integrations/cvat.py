"""CVAT: `cvat_sdk.auto_annotation.annotate_task(client, task_id, CvatFunction(segmenter, names))`."""

from __future__ import annotations

import cvat_sdk.auto_annotation as cvataa
import PIL.Image
from cvat_sdk import models
from cvat_sdk.masks import encode_mask

from pnp_ovss.classes import ClassNames, parse_classes
from pnp_ovss.segmenter import Segmenter


class CvatFunction:
    """A segmenter with its class names, as a detection function of CVAT. Interface: `cvat_sdk.auto_annotation`, cvat-sdk 2.

    The task's labels are found by our class names.
    """

    def __init__(self, segmenter: Segmenter, class_names: ClassNames) -> None:
        self._segmenter, self._classes = segmenter, parse_classes(class_names)
        labels = [cvataa.label_spec(name, i, type="mask") for i, name in enumerate(self._classes.names, 1)]
        self.spec = cvataa.DetectionFunctionSpec(labels=labels)

    def detect(
        self, context: cvataa.DetectionFunctionContext, image: PIL.Image.Image
    ) -> list[models.LabeledShapeRequest]:
        """A mask for each class found, or polygons without holes where CVAT asks for those."""
        result = self._segmenter(image, self._classes, image_name=context.frame_name)
        labels = {name: result.class_names.index(name) + 1 for name in result}
        if not context.conv_mask_to_poly:
            return [cvataa.mask(label, encode_mask(result[name])) for name, label in labels.items()]
        return [
            cvataa.polygon(label, region.outer.ravel().astype(float).tolist())
            for name, label in labels.items()
            for region in result.polygons(name)
        ]
