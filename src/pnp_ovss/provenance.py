"""What made a result: one record for the result, the report, the batch and the tuned preset."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pnp_ovss.config import SegmenterConfig

if TYPE_CHECKING:
    from torch import nn


_WEIGHTS = (".safetensors", ".pt", ".pth", ".bin")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What made a result.

    model: the adapter's name. weights: `fingerprint` of its weights. method: "preset", a method's name or "custom".
    policy: who decided which classes compete. refiner: the refiner's name. passes: GradCAM passes that were summed.
    config: all settings, as `recorded`. versions: of the libraries. time: when, in UTC, ISO 8601. tiles: windows that were
    looked at beside the whole photo (`pnp_ovss.tiles`).
    """

    model: str
    weights: str
    method: str
    policy: str
    refiner: str
    passes: int
    config: SegmenterConfig
    versions: Mapping[str, str] = field(default_factory=dict)
    time: str = ""
    tiles: int = 0

    @classmethod
    def of(cls, segmenter: Any, policy: str, passes: int) -> Provenance:
        """The record of a result that a Segmenter makes now."""
        return cls(
            model=segmenter.vlm.name,
            weights=segmenter.weights,
            method=segmenter.method,
            policy=policy,
            refiner=segmenter.refiner.name,
            passes=passes,
            config=recorded(segmenter.config),
            versions=library_versions(),
            time=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; `tiles` where there are any."""
        values = {**asdict(self), "config": self.config.to_dict(), "versions": dict(self.versions)}
        return values if self.tiles else {name: value for name, value in values.items() if name != "tiles"}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Provenance:
        """What `to_dict` gave; other keys do not count. Raises ConfigError for settings that there are not."""
        known: dict[str, Any] = {f.name: record[f.name] for f in fields(cls) if f.name in record}
        known["config"] = SegmenterConfig().replace(**record["config"])
        return cls(**known)

    def digest(self) -> str:
        """Twelve hex digits of all that a label depends on: without versions and time."""
        return digest({name: value for name, value in self.to_dict().items() if name not in ("versions", "time")})


def digest(values: Any) -> str:
    """Twelve hex digits that change whenever a value of these plain JSON values does."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def fingerprint(model: nn.Module) -> str:
    """Twelve hex digits of a model's weights: names, shapes and up to 64 values of each, spread over it.

    Runs with other weights must not be mistaken for the same by their settings.
    """
    found = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        flat = tensor.detach().flatten()
        some = flat[:: max(1, flat.numel() // 64)][:64].float().cpu().numpy()
        found.update(f"{name} {tuple(tensor.shape)} ".encode() + some.tobytes())
    return found.hexdigest()[:12]


def recorded(config: SegmenterConfig) -> SegmenterConfig:
    """The settings as results and reports hold them: files and folders of this machine as they are `called`."""
    places = {"bank": config.bank} if Path(config.bank).is_file() else {}
    if config.clip_model:
        places["clip_model"] = config.clip_model
    options = dict(config.refine_options)
    if "model" in options:
        options["model"] = called(str(options["model"]))
    return config.replace(**{name: called(place) for name, place in places.items()}, refine_options=options)


@cache
def called(model: str) -> str:
    """What records call a model: its name or hub id; a file or folder its own name and twelve digits of its content.

    Nothing else of a path goes into a record: another machine does not have it, and it may name a person.
    """
    place = Path(model)
    if not place.exists():
        return place.name if place.is_absolute() else model
    files = [place] if place.is_file() else sorted(path for path in place.glob("*") if path.suffix in _WEIGHTS)
    found = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return f"{place.resolve().name} {found.hexdigest()[:12]}"


@cache
def library_versions() -> dict[str, str]:
    """Versions of this package and of what its numbers depend on, as far as it is installed."""
    found = {"python": platform.python_version()}
    for name in ("pnp-ovss", "torch", "transformers", "numpy", "pillow", "numba"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
