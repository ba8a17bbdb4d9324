"""Rivals: names that nobody asked for and that may win pixels, which then become background (ours).

A pixel of a wall goes to the sofa when only the sofa competes for it. A rival competes where the model finds it, as policy
itm finds a class, whatever decides about the classes that were asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from pnp_ovss.classes import Classes, name_key, parse_classes
from pnp_ovss.policies import Choice, KeepRule


def rivals_of(names: str, classes: Classes) -> Classes:
    """The rivals among "wall, floor, sky" that are not among the classes themselves, each with one name.

    >>> rivals_of("wall, Sky", parse_classes("sky, cat"))
    (('wall',),)
    """
    if not names:
        return Classes()
    asked = {name_key(name) for group in classes for name in group}
    return Classes(group for group in parse_classes(names) if name_key(group[0]) not in asked)


def add_rivals(
    choice: Choice, rivals: Classes, match: Callable[[Sequence[str]], list[float]], threshold: float
) -> Choice:
    """The choice with the rivals that match; their indices follow those of the K classes, scores (K + R,).

    Where no class competes nothing is asked: all is background.
    """
    if not rivals or not choice.kept:
        return replace(choice, scores=(*choice.scores, *(None for _ in rivals)))
    scores = match(rivals.names)
    first = len(choice.scores)
    found = tuple(first + row for row in KeepRule(threshold)(scores))
    matches = (*choice.matches, *scores) if choice.matches else ()
    return Choice((*choice.kept, *found), (*choice.scores, *scores), matches)
