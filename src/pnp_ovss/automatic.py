"""Names that nobody lists: of a vocabulary's those that the model finds in a photo, with how sure it is of each (ours).

`"auto"` in place of class names asks the built-in model's own tags, `"auto:NAME"` a vocabulary that has a short name
(datasets/short_names.toml), `"auto:FILE"` a class file. What is found is asked for as if somebody had listed it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from pnp_ovss.classes import Classes, ClassNames, class_rows, make_classes, parse_classes, read_class_file
from pnp_ovss.config import SegmenterConfig
from pnp_ovss.errors import ClassNameError, ConfigError
from pnp_ovss.policies import Choice, ClassPolicy, MatchPolicy, Request, choose, keep_rule

AUTO = "auto"
MOST = 10
"""Names at most, the surest, unless `match_top_k` says otherwise."""
_HOME = resources.files("pnp_ovss")
_FOLDER = _HOME / "datasets" / "vocabularies"
_SHORT = tomllib.loads((_HOME / "datasets" / "short_names.toml").read_text(encoding="utf-8"))
_VOCABULARIES = {"": _HOME / "weights" / "pocket-tags.txt"} | {n: _FOLDER / f"{file}.txt" for n, file in _SHORT.items()}


class Automatic(Classes):
    """Candidates, of which those count that are found in a photo. source: as it was asked for, "auto:coco"."""

    source: str

    def __new__(cls, groups: Iterable[tuple[str, ...]], source: str = AUTO) -> Automatic:
        made = super().__new__(cls, groups)
        made.source = source
        return made


def asked_classes(names: ClassNames, *, files: bool = True) -> Classes:
    """As `parse_classes`, and of the text "auto" or "auto:VOCABULARY" its candidates.

    files: whether VOCABULARY may be a file; no stranger may have a server read its own. A class of the name "auto" is
    asked for by "auto," or a list. Raises ClassNameError.

    >>> len(asked_classes("auto:coco")), asked_classes("auto:coco").source, asked_classes("auto,")
    (80, 'auto:coco', (('auto',),))
    """
    if not isinstance(names, str) or names.strip().partition(":")[0] != AUTO:
        return parse_classes(names)
    source = names.strip()
    vocabulary = source.partition(":")[2].strip()
    if vocabulary in _VOCABULARIES:
        return Automatic(_first_names(_VOCABULARIES[vocabulary]), source)
    if not files:
        raise ClassNameError(f"{source!a}: write auto, or auto: and one of {', '.join(filter(None, _VOCABULARIES))}")
    return Automatic(_class_file(vocabulary), f"{AUTO}:{Path(vocabulary).name}")


def _first_names(path: Traversable) -> Classes:
    """The names that a vocabulary of ours is prompted by; its other names are for look-ups."""
    rows = class_rows(path.read_text(encoding="utf-8"))
    return make_classes(row[:1] for row in rows)


def _class_file(path: str) -> Classes:
    if not Path(path).is_file():
        known = ", ".join(f"{AUTO}:{name}" for name in _VOCABULARIES if name)
        raise ClassNameError(f"'{AUTO}:{path}': there is no such class file; without one there are {AUTO}, {known}")
    return read_class_file(path)


def decide(
    policy: ClassPolicy, request: Request, keep: Sequence[str] | None, config: SegmenterConfig
) -> tuple[str, Classes, Choice]:
    """Who decided, the classes and what competes (step 0): `policies.choose`, or of candidates those that are found.

    Raises ConfigError for candidates and a list of the caller's.
    """
    candidates = request.classes
    if not isinstance(candidates, Automatic):
        who, choice = choose(policy, request, keep, config)
        return who, Classes(map(tuple, candidates)), choice
    if keep is not None:
        raise ConfigError(f"'{candidates.source}' finds the names itself; list the classes instead, or leave keep out")
    return candidates.source, *_found(request, config)


def _found(request: Request, config: SegmenterConfig) -> tuple[Classes, Choice]:
    """The candidates that policy `itm` keeps by the configuration's rule, at most MOST where it has no limit, the surest first.

    All compete. Where there is none: the best one, which competes with `empty = "best"` only.
    """
    rule = keep_rule(config)
    rule = rule if rule.top_k else replace(rule, top_k=MOST)
    _, choice = choose(MatchPolicy(rule), request, None, config)
    scores = [score or 0.0 for score in choice.scores]
    surest = sorted(range(len(scores)), key=lambda index: -scores[index])
    found = [index for index in surest if index in choice.kept] or surest[:1]
    kept = tuple(range(len(choice.kept)))
    return Classes(tuple(request.classes[index]) for index in found), Choice(
        kept, tuple(scores[index] for index in found)
    )
