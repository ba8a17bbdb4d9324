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
    return (*_TRIVIAL, "maskclip[:MODEL]", "groupvit[:MODEL]", "reco:FOLDER[:MODEL]", "cam:TAGS.jsonl")


def make_baseline(spec: str, *, background: bool, device: str = "auto") -> System:
    """A baseline from its name, for a data set with or without background.

    MODEL is a hub id or a folder in transformers' layout. Raises ConfigError for any other name, ModelError
    when weights are missing.
    """
    check_baseline(spec)
    kind, _, rest = spec.partition(":")
    if kind in _TRIVIAL:
        return _TRIVIAL[kind](background)
    if kind == "maskclip":
        from pnp_ovss.baselines.maskclip import MaskClip

        return MaskClip.from_pretrained(rest or None, background=background, device=device)
    if kind == "groupvit":
        from pnp_ovss.baselines.groupvit import GroupViT

        return GroupViT.from_pretrained(rest or None, background=background, device=device)
    if kind == "reco":
        from pnp_ovss.baselines.reco import Reco

        folder, _, model = rest.partition(":")
        return Reco.from_pretrained(model or None, folder, background=background, device=device)
    from pnp_ovss.baselines.cam import TagCam

    return TagCam.from_tags(rest, background=background)


def check_baseline(spec: str) -> None:
    """Raise ConfigError unless `make_baseline` knows the name; nothing is loaded."""
    kind, _, rest = spec.partition(":")
    known = kind in ("maskclip", "groupvit") or (kind in _TRIVIAL and not rest) or (kind in ("reco", "cam") and rest)
    if not known:
        raise ConfigError(f"unknown baseline {spec!r}; choose from {', '.join(list_baselines())}")


_TRIVIAL: dict[str, Callable[[bool], System]] = {
    "background": lambda _background: AllBackground(),
    "random": lambda background: RandomLabels(background),
    "tags": lambda _background: TagsEverywhere(),
}


@dataclass(frozen=True)
class BaselineSpec:
    """A baseline by name."""

    name: str
    device: str = "auto"

    def make(self, has_background: bool, vlm: VisionLanguageModel | None = None) -> System:  # noqa: ARG002
        """See `SystemSpec`; a baseline has a model of its own."""
        return make_baseline(self.name, background=has_background, device=self.device)
