"""What stands beside us: other systems and trivial ones, evaluated on the same images by the same code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from pnp_ovss.baselines.trivial import AllBackground, RandomLabels, TagsEverywhere
from pnp_ovss.errors import ConfigError

if TYPE_CHECKING:
    from pnp_ovss.evaluation.systems import System
    from pnp_ovss.vlms.base import VisionLanguageModel

__all__ = [
    "AllBackground",
    "BaselineSpec",
    "RandomLabels",
    "TagsEverywhere",
    "check_baseline",
    "list_baselines",
    "make_baseline",
]

_Make = Callable[[str, bool, str], "System"]


def list_baselines() -> tuple[str, ...]:
    """Names that `make_baseline` takes; those with `:` want or allow something after it.

    >>> list_baselines()[:4]
    ('background', 'random', 'tags', 'maskclip[:MODEL]')
    """
    return tuple(kind + rest for kind, (rest, _) in _BASELINES.items())


def make_baseline(spec: str, *, background: bool, device: str = "auto") -> System:
    """A baseline from its name, for a data set with or without background.

    MODEL is a hub id or a folder in transformers' layout. Raises ConfigError for any other name, ModelError
    when weights are missing.
    """
    check_baseline(spec)
    kind, _, rest = spec.partition(":")
    return _BASELINES[kind][1](rest, background, device)


def check_baseline(spec: str) -> None:
    """Raise ConfigError unless `make_baseline` knows the name; nothing is loaded."""
    kind, _, rest = spec.partition(":")
    wanted = _BASELINES[kind][0] if kind in _BASELINES else None
    if wanted is None or (rest and not wanted) or (wanted.startswith(":") and not rest):
        raise ConfigError(f"unknown baseline {spec!r}; choose from {', '.join(list_baselines())}")


def _loaded(place: str) -> _Make:
    """The baseline of a `module:class` here, which is imported when it is made."""

    def make(rest: str, background: bool, device: str) -> System:
        module, name = place.split(":")
        kind = getattr(import_module(f"{__name__}.{module}"), name)
        return kind.from_spec(rest, background=background, device=device)

    return make


_BASELINES: dict[str, tuple[str, _Make]] = {
    "background": ("", lambda _rest, _background, _device: AllBackground()),
    "random": ("", lambda _rest, background, _device: RandomLabels(background)),
    "tags": ("", lambda _rest, _background, _device: TagsEverywhere()),
    "maskclip": ("[:MODEL]", _loaded("maskclip:MaskClip")),
    "groupvit": ("[:MODEL]", _loaded("groupvit:GroupViT")),
    "reco": (":FOLDER[:MODEL]", _loaded("reco:Reco")),
    "cam": (":TAGS.jsonl", _loaded("cam:TagCam")),
}
"""{kind: (what may stand behind it, what makes it of that, the background and the device)}"""


@dataclass(frozen=True)
class BaselineSpec:
    """A baseline by name."""

    name: str
    device: str = "auto"

    def make(self, has_background: bool, vlm: VisionLanguageModel | None = None) -> System:  # noqa: ARG002
        """See `SystemSpec`; a baseline has a model of its own."""
        return make_baseline(self.name, background=has_background, device=self.device)
