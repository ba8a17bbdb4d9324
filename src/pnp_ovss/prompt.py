"""Prompts of class names, and which of their tokens belong to which class.

A prompt is "A picture of c1 c2 ... cK" (§3). Which tokens belong to which class follows from the tokenizer's
character offsets, so that names of several words, punctuation or other scripts need no special care.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pnp_ovss.errors import ClassNameError

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


def build_prompts(names: Sequence[str], template: str, tokenize: Tokenize, max_tokens: int) -> tuple[Prompt, ...]:
    """One prompt with all names or, where it exceeds the text encoder, as few as needed, in order; never cut.

    names: K class names; max_tokens: the text encoder's limit, special tokens included.
    Raises ClassNameError when a single name alone is too long or has no token.
    """
    prompts: list[Prompt] = []
    done = 0
    while done < len(names):
        window = names[done : done + max_tokens]  # more names than tokens never fit
        count = _fitting(window, template, tokenize, max_tokens)
        prompts.append(build_prompt(window[:count], template, tokenize))
        done += count
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
