"""Words that a model never learned, each read as the nearest word that it did learn."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import cached_property
from itertools import groupby
from pathlib import Path

from tokenizers import Tokenizer

from pnp_ovss.prompt import Tokens
from pnp_ovss.vlms.encoders.wordpiece import WordPieceTokenizer

log = logging.getLogger(__name__)


class Lexicon:
    """The lines of a text file: a known word, a colon, and the words that are read as it ("dog: canine mutt pooch").

    The file is read with the first word that is looked up, and searched once for each word: a dictionary of all would
    cost every start more than that.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, str | None] = {}

    @cached_property
    def _text(self) -> str:
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []
        return "".join(f"\n{line} " for line in lines)

    def __getitem__(self, word: str) -> str | None:
        """The known word that `word`, or what it is the plural of, is read as, which is said once; None for any other."""
        if word not in self._known:
            found = (self._find(form) for form in singulars(word.lower()))
            known = self._known[word] = next(filter(None, found), None)
            if known:
                log.warning("'%s' is read as '%s', the nearest word that the model learned", word, known)
        return self._known[word]

    def _find(self, word: str) -> str | None:
        place = self._text.find(f" {word} ")
        if place < 0:
            return None
        start = self._text.rindex("\n", 0, place) + 1
        return self._text[start : self._text.index(":", start)]


def singulars(word: str) -> Iterator[str]:
    """The word itself, then what it may be the plural of: "heifers", "hutches", "lorries"."""
    yield word
    for ending, instead in (("s", ""), ("es", ""), ("ies", "y")):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            yield word.removesuffix(ending) + instead


class LexiconTokenizer(WordPieceTokenizer):
    """WordPiece, but each word of the lexicon has the tokens of the known word."""

    def __init__(self, tokenizer: Tokenizer, lexicon: Lexicon) -> None:
        super().__init__(tokenizer)
        self.lexicon = lexicon

    def __call__(self, text: str) -> Tokens:
        """The tokens of one text; offsets are of `text` as it was given."""
        encoded = self._tokenizer.encode(text)
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        for word, places in groupby(range(len(encoded.ids)), encoded.word_ids.__getitem__):
            own = list(places)
            start, end = encoded.offsets[own[0]][0], encoded.offsets[own[-1]][1]
            known = None if word is None else self.lexicon[text[start:end]]
            if known is None:
                ids += [encoded.ids[place] for place in own]
                offsets += [encoded.offsets[place] for place in own]
            else:
                instead = self._tokenizer.encode(known, add_special_tokens=False).ids
                ids += instead
                offsets += [(start, end)] * len(instead)
        return Tokens(tuple(ids), tuple(offsets))

    def read(self, text: str) -> str:
        """The text as the model reads it, each word of the lexicon replaced."""
        return re.sub(r"[^\W\d_]+", lambda found: self.lexicon[found[0]] or found[0], text)
