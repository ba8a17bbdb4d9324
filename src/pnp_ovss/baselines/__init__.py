"""What stands beside us: other systems and trivial ones, evaluated on the same images by the same code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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


def _maskclip(rest: str, background: bool, device: str) -> System:
    from pnp_ovss.baselines.maskclip import MaskClip

    return MaskClip.from_pretrained(rest or None, background=background, device=device)


def _groupvit(rest: str, background: bool, device: str) -> System:
    from pnp_ovss.baselines.groupvit import GroupViT

    return GroupViT.from_pretrained(rest or None, background=background, device=device)


def _reco(rest: str, background: bool, device: str) -> System:
    from pnp_ovss.baselines.reco import Reco

    folder, _, model = rest.partition(":")
    return Reco.from_pretrained(model or None, folder, background=background, device=device)


def _cam(rest: str, background: bool, _device: str) -> System:
    from pnp_ovss.baselines.cam import TagCam

    return TagCam.from_tags(rest, background=background)


_BASELINES: dict[str, tuple[str, Callable[[str, bool, str], System]]] = {
    "background": ("", lambda _rest, _background, _device: AllBackground()),
    "random": ("", lambda _rest, background, _device: RandomLabels(background)),
    "tags": ("", lambda _rest, _background, _device: TagsEverywhere()),
    "maskclip": ("[:MODEL]", _maskclip),
    "groupvit": ("[:MODEL]", _groupvit),
    "reco": (":FOLDER[:MODEL]", _reco),
    "cam": (":TAGS.jsonl", _cam),
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
