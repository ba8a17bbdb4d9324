"""autodistill: `PnPOVSS(CaptionOntology({"a furry cat": "cat"})).label("photos")` makes a data set to train on."""

from __future__ import annotations

from typing import Any

import supervision as sv
from autodistill.detection import CaptionOntology, DetectionBaseModel
from autodistill.helpers import load_image

from pnp_ovss.segmenter import Segmenter


class PnPOVSS(DetectionBaseModel):
    """A base model of autodistill: its ontology's prompts are the class names. Interface: autodistill 0.1.29.

    segmenter: None: the built-in model.
    """

    def __init__(self, ontology: CaptionOntology, segmenter: Segmenter | None = None) -> None:
        self.ontology = ontology
        self._segmenter = segmenter or Segmenter.from_pretrained()

    def predict(self, input: Any) -> sv.Detections:
        """A detection for each class found, `class_id` its place in the ontology. input: a path, PIL image or BGR array."""
        photo = load_image(input, return_format="PIL")
        return self._segmenter(photo, self.ontology.prompts()).to_supervision()
