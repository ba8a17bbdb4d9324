"""Label Studio's ML backend: predictions for a project's tasks, its own label names being the classes.

Protocol: Label Studio 1.23 (`GET /health`, `POST /setup`, `POST /predict`). Photos are fetched from the one Label Studio that
the service was told of, and from nowhere else.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree

from pnp_ovss.errors import ConfigError, ImageError
from pnp_ovss.export.label_studio import brush_region
from pnp_ovss.fetching import MAX_BYTES, TIMEOUT_S
from pnp_ovss.segmenter import Segmenter


@dataclass(frozen=True)
class Interface:
    """What a labelling configuration says. tag: name of its BrushLabels; image: of its Image; key: where tasks keep the photo."""

    tag: str
    image: str
    key: str
    names: tuple[str, ...]


def read_interface(config: str) -> Interface:
    """The brushes of a labelling configuration. Raises ConfigError for one without."""
    try:
        root = ElementTree.fromstring(config)
    except ElementTree.ParseError as error:
        raise ConfigError(f"the labelling configuration is no XML ({error})") from None
    images = {image.get("name", ""): image.get("value", "") for image in root.iter("Image")}
    for brushes in root.iter("BrushLabels"):
        names = tuple(label.get("value", "") for label in brushes.iter("Label"))
        to = brushes.get("toName", "")
        if to in images and images[to].startswith("$") and all(names) and names:
            return Interface(brushes.get("name", ""), to, images[to][1:], names)
    raise ConfigError(
        "the labelling configuration has no BrushLabels with a Label on an Image; choose 'Semantic Segmentation with Masks'"
    )


@dataclass(frozen=True)
class Studio:
    """Where the photos are. address: of Label Studio. key: an access token of it, legacy or personal."""

    address: str
    key: str

    def photo(self, place: str) -> bytes:
        """The bytes of a task's photo. Raises ImageError for one that lies elsewhere, or cannot be had."""
        address = urljoin(f"{self.address}/", place)
        if _origin(address) != _origin(self.address):
            raise ImageError(f"{place} lies outside {self.address}; the service fetches from there alone")
        return _open(urllib.request.Request(address, headers={"Authorization": self._authorization()}))

    def _authorization(self) -> str:
        if self.key.count(".") != 2:
            return f"Token {self.key}"
        body = json.dumps({"refresh": self.key}).encode()
        address = urljoin(f"{self.address}/", "api/token/refresh")
        answer = _open(urllib.request.Request(address, body, {"Content-Type": "application/json"}))
        return f"Bearer {json.loads(answer)['access']}"


def predict(segmenter: Segmenter, studio: Studio, request: dict[str, Any]) -> dict[str, Any]:
    """The answer to `POST /predict`: for each task its brush regions, or why there are none.

    Raises ConfigError for a labelling configuration without brushes.
    """
    interface = read_interface(str(request.get("label_config", "")))
    return {"results": [_prediction(segmenter, studio, interface, task) for task in request.get("tasks", [])]}


def version_of(segmenter: Segmenter) -> str:
    """What Label Studio shows as the model's version."""
    return f"pnp-ovss {segmenter.vlm.name} {segmenter.weights}"


def _prediction(segmenter: Segmenter, studio: Studio, interface: Interface, task: dict[str, Any]) -> dict[str, Any]:
    place = str(task.get("data", {}).get(interface.key, ""))
    try:
        result = segmenter(studio.photo(place), interface.names, image_name=place)
    except ImageError as error:
        return {"result": [], "model_version": version_of(segmenter), "error": str(error)}
    found = result.to_hf()
    return {
        "result": [
            brush_region(place, name, result[name], tag=interface.tag, image=interface.image) for name in result
        ],
        "score": sum(entry["score"] for entry in found) / len(found) if found else 0.0,
        "model_version": version_of(segmenter),
    }


def _origin(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.scheme, parts.netloc


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key elsewhere."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow none."""


def _open(request: urllib.request.Request) -> bytes:
    try:
        with urllib.request.build_opener(_NoRedirects()).open(request, timeout=TIMEOUT_S) as answer:
            data = answer.read(MAX_BYTES + 1)
    except (urllib.error.URLError, OSError) as error:
        raise ImageError(f"{request.full_url} cannot be fetched ({error}); is LABEL_STUDIO_API_KEY right?") from None
    if len(data) > MAX_BYTES:
        raise ImageError(f"{request.full_url} is larger than {MAX_BYTES >> 20} MiB")
    return data
