"""Class names to prompts and token spans.

A prompt is "A picture of c1 c2 ... cK" (§3). Which tokens belong to which class follows from the tokenizer's
character offsets, so that names of several words, punctuation or other scripts need no special care.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pnp_ovss.errors import ClassNameError

MAX_NAME_CHARS = 300
MATCH_TEMPLATE = "A picture of {classes}"


@dataclass(frozen=True)
class Tokens:
    """A tokenized text: ids and, for each, its (start, end) characters; (0, 0) for special tokens."""

    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Prompt:
    """A text with K class names and the token positions of each.

    `token_ids` is the whole sequence, special tokens included; `spans[k]` are the positions in it that belong to
    class k, and the last position is the closing special token ([SEP]).
    """

    text: str
    class_names: tuple[str, ...]
    token_ids: tuple[int, ...]
    spans: tuple[tuple[int, ...], ...]


Tokenize = Callable[[str], Tokens]


def parse_classes(names: str | Iterable[str | Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """Validated class names, each a tuple whose first name is the class and whose others are synonyms.

    A string is split at commas; an element may be a name or a sequence of a name and its synonyms.
    Raises ClassNameError for no names, empty, too long or repeated ones.

    >>> parse_classes("cat, sofa")
    (('cat',), ('sofa',))
    >>> parse_classes([("sofa", "couch"), "cat"])
    (('sofa', 'couch'), ('cat',))
    """
    entries = names.split(",") if isinstance(names, str) else list(names)
    classes = tuple(tuple(_clean(n) for n in (e if isinstance(e, list | tuple) else [e])) for e in entries)
    if not classes or classes == (("",),):
        raise ClassNameError("no class names were given; name at least one, for example 'cat, sofa'")
    flat = [name for group in classes for name in group] + ["" for group in classes if not group]
    _check_names(flat)
    return classes


def parse_class_lines(text: str) -> tuple[tuple[str, ...], ...]:
    """Classes of a class file: one class a line, synonyms after commas, blank lines and `#` comments ignored.

    >>> parse_class_lines("sofa, couch\\n# pets\\ncat")
    (('sofa', 'couch'), ('cat',))
    """
    lines = [line.split("#", 1)[0].strip() for line in text.lstrip("\ufeff").splitlines()]
    return parse_classes([tuple(line.split(",")) for line in lines if line])


def _clean(name: object) -> str:
    if not isinstance(name, str):
        raise ClassNameError(f"a class name must be text, not {type(name).__name__} {name!r}")
    return " ".join(unicodedata.normalize("NFC", name).split())


def _check_names(flat: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in flat:
        if not name:
            raise ClassNameError("one of the class names is empty; remove the stray comma or blank entry")
        if len(name) > MAX_NAME_CHARS:
            raise ClassNameError(
                f"class name '{name[:40]}...' has {len(name)} characters; the limit is {MAX_NAME_CHARS}"
            )
        if name.casefold() in seen:
            raise ClassNameError(f"class name '{name}' is given twice; each name may stand once")
        seen.add(name.casefold())


def build_prompts(names: Sequence[str], template: str, tokenize: Tokenize, max_tokens: int) -> tuple[Prompt, ...]:
    """One prompt with all names or, where it exceeds the text encoder, as few as needed, in order; never cut.

    names: K class names; max_tokens: the text encoder's limit, special tokens included.
    Raises ClassNameError when a single name alone is too long or has no token.
    """
    prompts: list[Prompt] = []
    rest = list(names)
    while rest:
        count = _fitting(rest, template, tokenize, max_tokens)
        prompts.append(build_prompt(rest[:count], template, tokenize))
        rest = rest[count:]
    return tuple(prompts)


def build_prompt(names: Sequence[str], template: str, tokenize: Tokenize) -> Prompt:
    """The prompt of these names and their token spans, found by character offsets."""
    text = template.format(classes=" ".join(names))
    start = template.index("{classes}")
    tokens = tokenize(text)
    spans = []
    for name in names:
        end = start + len(name)
        span = tuple(i for i, (a, b) in enumerate(tokens.offsets) if a < end and b > start and b > a)
        if not span:
            raise ClassNameError(f"class name '{name}' has no token in this model's vocabulary; name it otherwise")
        spans.append(span)
        start = end + 1
    return Prompt(text, tuple(names), tokens.ids, tuple(spans))


def _fitting(names: Sequence[str], template: str, tokenize: Tokenize, max_tokens: int) -> int:
    """How many leading names fit one prompt, by bisection (a longer list never has fewer tokens)."""

    def length(count: int) -> int:
        return len(tokenize(template.format(classes=" ".join(names[:count]))).ids)

    if length(len(names)) <= max_tokens:
        return len(names)
    if length(1) > max_tokens:
        raise ClassNameError(
            f"class name '{names[0][:40]}...' needs {length(1)} tokens; this model reads {max_tokens}: shorten it"
        )
    low, high = 1, len(names)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if length(middle) <= max_tokens else (low, middle)
    return low


def flatten_classes(classes: Sequence[Sequence[str]], chosen: Sequence[int]) -> tuple[list[str], list[list[int]]]:
    """The names of the chosen classes, synonyms included, and for each class its rows among them.

    >>> flatten_classes([("cat",), ("sofa", "couch"), ("dog",)], [1, 2])
    (['sofa', 'couch', 'dog'], [[0, 1], [2]])
    """
    names: list[str] = []
    groups = []
    for index in chosen:
        groups.append(list(range(len(names), len(names) + len(classes[index]))))
        names.extend(classes[index])
    return names, groups
