"""Class names: what separates them, when two are one, and how they become the K classes of a run.

The command line, the page, galleries, class files and the library read names here and nowhere else.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from pathlib import Path

from pnp_ovss.errors import ClassNameError
from pnp_ovss.files import read_text

MAX_NAME_CHARS = 300
MAX_CLASSES = 65_535
"""Labels are 16 bit and 0 is background."""

_SEPARATORS = re.compile("[,;，、；،؛\t]")  # full-width ones of Chinese and Japanese, and those of Arabic input
_DOT = re.compile(r"\s\.(?=\s|$)")
_QUOTED = re.compile(r"""\[\s*(['"]).*\1\s*,?\s*\]""", re.DOTALL)
_COMMENT = re.compile(r"(^|\s)#(\s.*)?$|^#.*$")
_EDGES = (
    " \u00ad\u061c\u200b\u200c\u200d\u200e\u200f\u2060\ufeff" + "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
"""Characters that nobody sees; copied text has them at its ends."""
_QUOTES = re.compile(r"""^(["'])([^"']+)\1$""")
_SEVERAL = re.compile(r"\s[.|/](?=\s|$)|[|・]")
_NUMBERED = re.compile(r"(\d+[.:)]?|[-*•])(\s.*)?")
_PAIRS = (("(", ")"), ("[", "]"), ("{", "}"))
_HYPHEN = re.compile(r"(?<=\S)-+(?=\S)")

log = logging.getLogger(__name__)


class Classes(tuple[tuple[str, ...], ...]):
    """Validated classes, in order: each its name and then its synonyms. `parse_classes` makes it, once for a run."""

    __slots__ = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The first name of each."""
        return tuple(group[0] for group in self)


ClassNames = str | Iterable[str | Sequence[str]]
"""Class names as they are given: "cat, sofa", names, or (name, synonym, ...) groups."""


@lru_cache(1 << 17)
def name_key(name: str) -> str:
    """What two spellings of one name have in common, and two names have not: the rule of identity.

    Case, compatibility forms (NFKC), format characters (zero-width blanks, variation selectors) do not count; blanks,
    underscores and hyphens inside a word are one blank. All else does: marks of Thai and Hindi vowels, signs, emoji.

    >>> name_key("Traffic_Light") == name_key("traffic-light") == name_key("traffic  light\\u200b")
    True
    >>> len({name_key(name) for name in ("C", "C++", "C#", "-1 C", "1 C", "หมี", "หมู")})
    7
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    text = "".join(" " if c == "_" else "-" if unicodedata.category(c) == "Pd" else c for c in text if not _unseen(c))
    return " ".join(_HYPHEN.sub(" ", " ".join(text.split())).split())


def parse_classes(names: ClassNames) -> Classes:
    """Validated class names, each a tuple whose first name is the class and whose others are synonyms.

    A string is split at commas, semicolons (full-width ones, too), line breaks and, where it has none of these, at the
    dots of "cat . dog ."; an element of a list may be a name or a sequence of a name and its synonyms. Raises
    ClassNameError for no names, empty, too long, repeated or too many ones; warns of what is likely a mistake.

    >>> parse_classes("cat; sofa")
    (('cat',), ('sofa',))
    >>> parse_classes([("sofa", "couch"), "cat"])
    (('sofa', 'couch'), ('cat',))
    """
    if isinstance(names, Classes):
        return names
    unordered = isinstance(names, set | frozenset)  # its order is another in each process
    if unordered or not isinstance(names, Iterable):
        raise ClassNameError(f"class names must be a text or a list of names, not {type(names).__name__}")
    entries = split_names(names) if isinstance(names, str) else list(names)
    classes = make_classes([e if isinstance(e, list | tuple) else [e] for e in entries])
    _warn_of_mistakes(classes)
    return classes


def make_classes(groups: Iterable[Iterable[object]]) -> Classes:
    """Classes of groups of names, checked and without remarks. Raises ClassNameError."""
    classes = Classes(tuple(map(_tidy, group)) or ("",) for group in groups)
    if not classes:
        raise ClassNameError("no class names were given; name at least one, for example 'cat, sofa'")
    if len(classes) > MAX_CLASSES:
        raise ClassNameError(f"{len(classes)} classes were given; labels are 16 bit: at most {MAX_CLASSES} in one run")
    _check_names(classes)
    return classes


def split_names(text: str) -> list[str]:
    """The names of a text as people write lists; blank lines and a separator at a line's end do not count.

    >>> split_names("cat . dog . person .")
    ['cat', 'dog', 'person']
    """
    if _QUOTED.fullmatch(text.strip()):  # a list of another language: ["cat", "dog"]
        return [first or second for first, second in re.findall(r"'([^']*)'|\"([^\"]*)\"", text)]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) == 1 and not _SEPARATORS.search(text):
        lines = [_DOT.sub(",", _sentences(lines[0]))]
    names = [_QUOTES.sub(r"\2", name.strip()) for line in lines for name in _cells(line)]
    return names if any(names) else []


def _sentences(text: str) -> str:
    """The form "cat. dog." of GroundingDINO's prompts as "cat . dog ."; a lone dot ("St. Bernard") is left."""
    return text.replace(".", " .") if re.search(r"\S\.\s.*\S\.$", text) else text


def _cells(line: str) -> list[str]:
    cells = _SEPARATORS.split(line)
    return cells if cells[-1].strip() else cells[:-1] or cells


def parse_class_lines(lines: str | Iterable[str]) -> Classes:
    """Classes of a class file: one a line, synonyms after commas; blank lines and `# comments` do not count.

    A `#` begins a comment at a line's start and between blanks: "C# cup" and "cat #1" are names.

    >>> parse_class_lines("sofa, couch\\n# pets\\ncat")
    (('sofa', 'couch'), ('cat',))
    """
    return parse_classes(class_rows(lines))


def class_rows(lines: str | Iterable[str]) -> list[tuple[str, ...]]:
    """The names of each line of a class file, unchecked."""
    rows = lines.lstrip("\ufeff").split("\n") if isinstance(lines, str) else lines
    texts = [_COMMENT.sub("", row.strip()).strip() for row in rows]
    return [tuple(_cells(text)) for text in texts if text]


def read_class_file(path: str | Path) -> Classes:
    """The classes of a text file as `parse_class_lines` takes them. Raises ClassNameError that names the file."""
    text = read_text(path, "the class file", error=ClassNameError)
    try:
        return parse_class_lines(text)
    except ClassNameError as error:
        raise ClassNameError(f"the class file {path}: {error}") from None


def prompted_names(
    classes: Sequence[Sequence[str]], kept: Sequence[int], everything: bool
) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """The names that stand in the prompt, those of the kept classes or of all if any is kept; for each kept one its rows.

    >>> prompted_names([("cat",), ("sofa", "couch"), ("dog",)], [1], everything=True)
    (('cat', 'sofa', 'couch', 'dog'), ((1, 2),))
    """
    chosen = range(len(classes)) if everything and kept else kept
    names: list[str] = []
    rows: dict[int, tuple[int, ...]] = {}
    for index in chosen:
        rows[index] = tuple(range(len(names), len(names) + len(classes[index])))
        names.extend(classes[index])
    return tuple(names), tuple(rows[index] for index in kept)


def _unseen(character: str) -> bool:
    """Format characters (blanks without width, direction marks) and variation selectors."""
    return unicodedata.category(character) == "Cf" or "\ufe00" <= character <= "\ufe0f"


def _tidy(name: object) -> str:
    if not isinstance(name, str):
        raise ClassNameError(f"a class name must be text, not {type(name).__name__} {name!r}")
    return " ".join(unicodedata.normalize("NFC", name).split()).strip(_EDGES)


def _check_names(classes: Classes) -> None:
    """Raise ClassNameError for a name that cannot be one, or that another class has."""
    seen: dict[str, tuple[str, int]] = {}
    for label, group in enumerate(classes, 1):
        for name in group:
            _check_name(name)
            first, owner = seen.setdefault(name_key(name), (name, label))
            if owner != label:
                how = f"class name '{name}' is" if first == name else f"class names {first!a} and {name!a} are"
                raise ClassNameError(f"{how} given twice (class {owner} and {label}); each name may stand once")


def _check_name(name: str) -> None:
    if bad := next((c for c in name if unicodedata.category(c) in ("Cc", "Cs")), None):
        raise ClassNameError(f"class name {name[:40]!a} holds U+{ord(bad):04X}, which is no character of a text")
    if not name_key(name):
        raise ClassNameError("one of the class names is empty; remove the stray comma or blank entry")
    if len(name) > MAX_NAME_CHARS:
        raise ClassNameError(f"class name '{name[:40]}...' has {len(name)} characters; the limit is {MAX_NAME_CHARS}")


def _warn_of_mistakes(classes: Classes) -> None:
    """Log what is possible and most likely not meant."""
    owners = {name_key(name): group for group in classes for name in group}
    for key, group in owners.items():
        for plural in (f"{key}s", f"{key}es", f"{key[:-1]}ies" if key.endswith("y") else ""):
            if owners.get(plural, group) is not group:
                _warn(f"'{group[0]}' and '{owners[plural][0]}' compete: is one the plural of the other?")
    for name in classes.names:
        if found := _SEPARATORS.search(name) or _SEVERAL.search(name):
            _warn(f"one class is named '{name}': are these several names, separated by '{found[0].strip()}'?")
        elif any(name.count(left) != name.count(right) for left, right in _PAIRS) or '"' in (name[0], name[-1]):
            _warn(f"one class is named '{name}': a list is names with commas between, or a file of one name a line")
    if len(classes) > 1 and all(map(_NUMBERED.fullmatch, classes.names)):
        _warn(f"all classes begin like '{classes.names[0]}': numbers and marks of a list are taken for words")


@cache
def _warn(remark: str) -> None:
    """Say it once in a process, however many photos are asked for the same names."""
    log.warning("%s", remark)
