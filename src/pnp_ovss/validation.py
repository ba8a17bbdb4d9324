"""Whether settings are possible: their types, choices and ranges, each refusal one line that names what is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from pnp_ovss.errors import ConfigError

if TYPE_CHECKING:
    from pnp_ovss.config import SegmenterConfig


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def check_settings(config: SegmenterConfig, hints: Mapping[str, Any]) -> None:
    """Raise ConfigError for the first impossible setting. hints: the annotation of each field."""
    _check_choices(config, hints)
    _check_ranges(config)


def _check_choices(config: SegmenterConfig, hints: Mapping[str, Any]) -> None:
    for name, hint in hints.items():
        value, allowed = getattr(config, name), _allowed(hint)
        if allowed and not _is_allowed(value, allowed):
            names = ", ".join(sorted(_KINDS.get(a, str(a)) for a in allowed))
            raise ConfigError(f"{name} = {value!r} is not possible; choose from {names}")


def _allowed(hint: Any) -> tuple[Any, ...]:
    """The literal values and plain types that an annotation admits; empty = anything."""
    if hint in (int, float, bool, str):
        return (hint,)
    found: list[Any] = []
    for arg in get_args(hint) if "Mapping" not in str(hint) else ():
        found.extend(_allowed(arg) or (arg,))
    return tuple(found)


def _is_allowed(value: Any, allowed: tuple[Any, ...]) -> bool:
    for a in allowed:
        if not isinstance(a, type):
            if value == a and isinstance(value, type(a)):
                return True
        elif (a is float and isinstance(value, int | float) and not isinstance(value, bool)) or type(value) is a:
            return True
    return False


def _check_ranges(config: SegmenterConfig) -> None:
    bounds = {
        "layer": (1, 1000),
        "size_px": (16, 4096),
        "drops": (0, 100),
        "blur": (0, 1),
        "output_px": (16, 16384),
        "match_threshold": (0, 1),
        "first_round_weight": (0, 100),
    }
    for name, (low, high) in bounds.items():
        value = getattr(config, name)
        if not low <= value <= high:
            raise ConfigError(f"{name} = {value} is out of range; it must lie in [{low}, {high}]")
    if isinstance(config.head, int) and config.head < 1:
        raise ConfigError(f"head = {config.head}; heads count from 1, or 'mean'")
    if not 0 < config.drop_share < 1:
        raise ConfigError(f"drop_share = {config.drop_share}; it must lie between 0 and 1")
    if config.patches_per_round is not None and config.patches_per_round < 1:
        raise ConfigError(f"patches_per_round = {config.patches_per_round}; it must be at least 1")
    if config.template.count("{classes}") != 1:
        raise ConfigError(f"template = {config.template!r}; it must contain {{classes}} once")
