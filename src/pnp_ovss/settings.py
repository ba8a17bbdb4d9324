"""Settings as fields of a dataclass: what each means, which step reads it, what it admits; and their checks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import field
from functools import cache
from typing import Any, Literal, get_args, get_type_hints

from pnp_ovss.errors import ConfigError

Step = Literal["load", "prepare", "look", "label"]
RENAMED = {
    "patches_per_round": "drop_patches",
    "first_round_weight": "first_pass_weight",
    "per_round_minmax": "per_pass_minmax",
    "off": "none",
}
"""Settings and values that had another name: the old one's error says the new one."""
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", Mapping: "a table"}


MAX_SEED = 2**63 - 1


def check_seed(seed: int) -> int:
    """The seed itself. Raises ConfigError for one that torch or numpy would not take."""
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"seed = {seed!r} is not possible; give a whole number from 0 to 2^63 - 1")
    return seed


def setting(default: Any, step: Step, text: str, low: float = -math.inf, high: float = math.inf) -> Any:
    """A field: what reads it, what it means, and the finite range [low, high] of its numbers."""
    metadata = {"step": step, "help": text, "range": (low, high)}
    if isinstance(default, dict):  # asking for Mapping walks through every class of torch that is one
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def check_names(settings: Any, names: Iterable[str]) -> None:
    """Raise ConfigError for a name that is no field of the dataclass."""
    known = sorted(f.name for f in dataclasses.fields(settings))
    for name in names:
        if name not in known:
            raise ConfigError(
                f"unknown setting '{name}'; {_renamed(name, known) or _listed('the settings are', known)}"
            )


def check_settings(settings: Any) -> None:
    """Raise ConfigError for an impossible value: another type, none of the choices, out of range or not finite."""
    for declared in dataclasses.fields(settings):
        value = getattr(settings, declared.name)
        _check_kind(declared.name, value, _choices(type(settings))[declared.name])
        low, high = declared.metadata["range"]
        if isinstance(value, int | float) and not isinstance(value, bool) and not low <= value <= high:
            raise ConfigError(f"{declared.name} = {value} is out of range; it must lie in [{low}, {high}]")


def _check_kind(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if allowed and not any(_admits(choice, value) for choice in allowed):
        names = sorted(_KINDS.get(choice, str(choice)) for choice in allowed)
        raise ConfigError(
            f"{name} = {value!r} is not possible; {_renamed(value, names) or _listed('choose from', names)}"
        )


def _renamed(old: Any, known: list[str]) -> str:
    new = RENAMED.get(old) if isinstance(old, str) else None
    return f"it is called '{new}' now" if new in known else ""


def _listed(words: str, names: list[str]) -> str:
    return f"{words} {', '.join(names)}"


@cache
def _choices(settings: type) -> dict[str, tuple[Any, ...]]:
    """{setting: the literal values and plain types that it admits; empty = anything}."""
    return {name: _allowed(hint) for name, hint in get_type_hints(settings).items()}


def _allowed(hint: Any) -> tuple[Any, ...]:
    if hint in (int, float, bool, str, type(None)):
        return (None,) if hint is type(None) else (hint,)
    if "Mapping" in str(hint):
        return (Mapping,)
    found: list[Any] = []
    for arg in get_args(hint):
        found.extend(_allowed(arg) or (arg,))
    return tuple(found)


def _admits(choice: Any, value: Any) -> bool:
    if choice is Mapping:
        return isinstance(value, Mapping)
    if not isinstance(choice, type):
        return value == choice and isinstance(value, type(choice))
    if choice is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is choice
