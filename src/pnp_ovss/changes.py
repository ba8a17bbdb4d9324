"""What differs between two descriptions of a run, in words: a refusal names the setting and both values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

SHOWN = 3
"""Differences that a line names; the rest is counted."""
_LONG = 40
_ABSENT = object()


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Each value that differs as "path before -> now", in the order of the names; values are plain JSON.

    >>> changes({"config": {"threshold": 0.2, "drops": 4}}, {"config": {"threshold": 0.25, "drops": 4}})
    ['config.threshold 0.2 -> 0.25']
    >>> changes({"notes": ["void: 255", "2 of 6"]}, {"notes": ["void: 255", "3 of 6"]})  # of lists what only one has
    ['notes ["2 of 6"] -> ["3 of 6"]']
    >>> changes({"classes": ["cat", "dog"]}, {"classes": ["cat"]})
    ['classes ["cat", "dog"] -> ["cat"]']
    """
    return [f"{path} {_shown(a)} -> {_shown(b)}" for path, a, b in _differing("", _plain(before), _plain(now))]


def summary(found: list[str]) -> str:
    """The first few differences in one line.

    >>> summary(["a 1 -> 2", "b 1 -> 2", "c 1 -> 2", "d 1 -> 2"])
    'a 1 -> 2, b 1 -> 2, c 1 -> 2 and 1 more'
    """
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more


def _differing(path: str, before: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted(before.keys() | now.keys()):
            below = f"{path}.{name}" if path else name
            yield from _differing(below, before.get(name, _ABSENT), now.get(name, _ABSENT))
    elif isinstance(before, list) and isinstance(now, list) and before != now:
        own = [each for each in before if each not in now], [each for each in now if each not in before]
        yield (path, *own) if all(own) else (path, before, now)
    elif before is _ABSENT or now is _ABSENT or before != now:
        yield path, before, now


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back: tuples are lists, keys are text."""
    return json.loads(json.dumps(values))


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "(not there)"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONG else text[: _LONG - 3] + "..."
