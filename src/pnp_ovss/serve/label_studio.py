"""Label Studio's ML backend: predictions for a project's tasks, its own label names being the classes.

Protocol: Label Studio 1.23 (`GET /health`, `POST /setup`, `POST /predict`). Photos are fetched from the one Label Studio that
the service was told of, and from nowhere else.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree

from pnp_ovss.classes import parse_classes
from pnp_ovss.errors import ConfigError, ImageError
from pnp_ovss.export.label_studio import brush_region
from pnp_ovss.fetching import MAX_BYTES, TIMEOUT_S, encoded
from pnp_ovss.segmenter import Segmenter


@dataclass(frozen=True)
class Interface:
    """What a labelling configuration says. tag: name of its BrushLabels; image: of its Image; key: where tasks keep the photo."""

    tag: str
    image: str
    key: str
    names: tuple[str, ...]


def read_interface(config: str) -> Interface:
    """The brushes of a labelling configuration. Raises ConfigError for one without, ClassNameError for names not to be asked."""
    try:
        root = ElementTree.fromstring(config)
    except (ElementTree.ParseError, ValueError) as error:
        raise ConfigError(f"the labelling configuration is no XML ({error})") from None
    images = {image.get("name", ""): image.get("value", "") for image in root.iter("Image")}
    for brushes in root.iter("BrushLabels"):
        names = tuple(label.get("value", "") for label in brushes.iter("Label"))
        to = brushes.get("toName", "")
        if to in images and images[to].startswith("$") and all(names) and names:
            parse_classes(names)
            return Interface(brushes.get("name", ""), to, images[to][1:], names)
    raise ConfigError(
        "the labelling configuration has no BrushLabels with Labels on an Image of the value $...; choose 'Semantic "
        "Segmentation with Masks'"
    )


@dataclass(frozen=True)
class Studio:
    """Where the photos are. address: of Label Studio. key: an access token of it, legacy or personal.

    Raises ConfigError for an address that is none.
    """

    address: str
    key: str

    def __post_init__(self) -> None:
        try:
            scheme, host = _origin(self.address)
        except ValueError:
            scheme = host = ""
        if scheme not in ("http", "https") or not host:
            raise ConfigError(f"{self.address!a} is no address of a Label Studio; write http://HOST:PORT")

    def photo(self, place: str) -> bytes:
        """The bytes of a task's photo. Raises ImageError for one that lies elsewhere, or cannot be had."""
        try:
            address = urljoin(f"{self.address}/", encoded(place))
            ours = _origin(address) == _origin(self.address)
        except ValueError as error:
            raise ImageError(f"{place[:200]!a} is no address of a photo ({error}); correct the task") from None
        if not ours:
            raise ImageError(f"{place[:200]} lies outside {self.address}; the service fetches from there alone")
        return _open(urllib.request.Request(address, headers={"Authorization": self._authorization()}))

    def _authorization(self) -> str:
        if self.key.count(".") != 2:
            return f"Token {self.key}"
        body = json.dumps({"refresh": self.key}).encode()
        address = urljoin(f"{self.address}/", "api/token/refresh")
        answer = _open(urllib.request.Request(address, body, {"Content-Type": "application/json"}))
        try:
            return f"Bearer {json.loads(answer)['access']}"
        except (ValueError, LookupError, TypeError):
            raise ImageError(f"{address} gives no access token; is LABEL_STUDIO_API_KEY right?") from None


def predict(segmenter: Segmenter, studio: Studio, request: dict[str, Any]) -> dict[str, Any]:
    """The answer to `POST /predict`: for each task its brush regions, or why there are none.

    Raises ConfigError for a labelling configuration without brushes, and for tasks that are none.
    """
    interface, tasks = read_interface(str(request.get("label_config", ""))), request.get("tasks") or []
    if not isinstance(tasks, list):
        raise ConfigError(f'"tasks" is {type(tasks).__name__}; it must be a list of tasks')
    return {"results": [_prediction(segmenter, studio, interface, task) for task in tasks]}


def version_of(segmenter: Segmenter) -> str:
    """What Label Studio shows as the model's version."""
    return f"pnp-ovss {segmenter.vlm.name} {segmenter.weights}"


def _prediction(segmenter: Segmenter, studio: Studio, interface: Interface, task: Any) -> dict[str, Any]:
    try:
        place = _place(task, interface.key)
        result = segmenter(studio.photo(place), interface.names, image_name=place)
    except ImageError as error:
        return {"result": [], "model_version": version_of(segmenter), "error": str(error)}
    found, written = result.to_hf(), dict(zip(result.class_names, interface.names, strict=True))
    return {
        "result": [
            brush_region(place, written[name], result[name], tag=interface.tag, image=interface.image)
            for name in result
        ],
        "score": sum(entry["score"] for entry in found) / len(found) if found else 0.0,
        "model_version": version_of(segmenter),
    }


def _place(task: Any, key: str) -> str:
    """Where a task's photo is. Raises ImageError."""
    data = task.get("data") if isinstance(task, dict) else None
    place = data.get(key) if isinstance(data, dict) else None
    if not isinstance(place, str) or not place:
        raise ImageError(f"the task has no photo: its data has no address as {key!a}")
    return place


def _origin(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.scheme, parts.netloc.lower()


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key elsewhere."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow none."""


def _open(request: urllib.request.Request) -> bytes:
    try:
        with urllib.request.build_opener(_NoRedirects()).open(request, timeout=TIMEOUT_S) as answer:
            data = answer.read(MAX_BYTES + 1)
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        why = type(error).__name__ if isinstance(error, ValueError) else str(error)  # a ValueError may show the key
        raise ImageError(f"{request.full_url} cannot be fetched ({why}); is LABEL_STUDIO_API_KEY right?") from None
    if len(data) > MAX_BYTES:
        raise ImageError(f"{request.full_url} is larger than {MAX_BYTES >> 20} MiB")
    return data
