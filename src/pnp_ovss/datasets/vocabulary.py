"""Vocabularies: the classes of a data set, in order, each with the names it is known by."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path

from pnp_ovss.errors import ClassNameError, DatasetError

_FOLDER = files("pnp_ovss.datasets") / "vocabularies"


@dataclass(frozen=True)
class Vocabulary:
    """The classes that a data set is labelled with; the i-th of them is label i, counted from 1.

    >>> voc = load_vocabulary("voc20")
    >>> len(voc), voc.names[0], voc.label("TV-Monitor"), voc.label("motorcycle")
    (20, 'aeroplane', 20, 14)
    """

    name: str
    classes: tuple[tuple[str, ...], ...]
    """One tuple a class: the name that is prompted, then the other names that `label` accepts."""

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that are prompted and printed, one a class."""
        return tuple(synonyms[0] for synonyms in self.classes)

    def label(self, name: str) -> int:
        """Label (from 1) of the class called `name`, whatever its case, spaces and punctuation.

        Raises ClassNameError if the vocabulary knows no such class.
        """
        try:
            return self._labels[_key(name)]
        except KeyError:
            raise ClassNameError(
                f"{name!r} is no class of the vocabulary {self.name!r}; its classes: {', '.join(self.names)}"
            ) from None

    @cached_property
    def _labels(self) -> dict[str, int]:
        labels: dict[str, int] = {}
        for label, synonyms in enumerate(self.classes, start=1):
            for name in synonyms:
                if labels.setdefault(_key(name), label) != label:
                    raise DatasetError(
                        f"vocabulary {self.name!r}: {name!r} names class {labels[_key(name)]} and {label}"
                    )
        return labels


def list_vocabularies() -> tuple[str, ...]:
    """Names of the vocabularies that come with the library.

    >>> list_vocabularies()
    ('ade150', 'coco_object80', 'coco_stuff171', 'context59', 'voc20')
    """
    return tuple(sorted(entry.name.removesuffix(".txt") for entry in _FOLDER.iterdir()))


@lru_cache
def load_vocabulary(name: str) -> Vocabulary:
    """One of the vocabularies of `list_vocabularies`. Raises DatasetError for any other name."""
    if name not in list_vocabularies():
        raise DatasetError(f"no vocabulary {name!r}; there are {', '.join(list_vocabularies())}")
    text = (_FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    return make_vocabulary(name, text.splitlines(), source=f"{name}.txt")


def read_vocabulary(path: Path) -> Vocabulary:
    """The vocabulary of a text file: one class a line, synonyms after commas, `#` lines are comments.

    Raises DatasetError if the file is missing, empty, not UTF-8 or gives one name to two classes.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"class file {path}: {error}; expected one class name a line") from None
    return make_vocabulary(path.stem, lines, source=str(path))


def make_vocabulary(name: str, lines: Iterable[str], *, source: str = "") -> Vocabulary:
    """A vocabulary from lines like those of a class file; `source` is named in the errors."""
    rows = [line.strip() for line in lines]
    classes = [[part.strip() for part in row.split(",")] for row in rows if row and not row.startswith("#")]
    where = source or name
    if not classes:
        raise DatasetError(f"{where}: no classes; expected one class name a line, synonyms after commas")
    if bad := next((row for row in classes if not all(map(_key, row))), None):
        raise DatasetError(f"{where}: empty name in {', '.join(bad)!r}; expected `name, synonym, ...`")
    vocabulary = Vocabulary(name, tuple(tuple(row) for row in classes))
    vocabulary.label(vocabulary.names[0])  # builds the look-up, which refuses a name given twice
    return vocabulary


def _key(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())
