"""BERT's WordPiece tokenizer with character offsets, straight from `tokenizers` (no hub, no silent fallback)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.implementations import BertWordPieceTokenizer
from tokenizers.normalizers import BertNormalizer
from tokenizers.processors import BertProcessing
from torch import Tensor

from pnp_ovss.errors import ModelError
from pnp_ovss.prompt import Tokens

START, END = "[CLS]", "[SEP]"


class TextTokenizer:
    """Text to ids and each token's characters, by a tokenizer of `tokenizers` that adds the special tokens.

    pad: fills up shorter texts of a batch (and is masked). unknown: the id of that piece. first_token: stands in place of the
    first id.
    """

    pad: int

    def __init__(self, tokenizer: Tokenizer, *, unknown: str = "[UNK]", first_token: int | None = None) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.unknown = tokenizer.token_to_id(unknown)
        self._tokenizer = tokenizer
        self._first_token = first_token

    def __call__(self, text: str) -> Tokens:
        """The tokens of one text.

        Offsets are (start, end) characters of `text`, (0, 0) for special tokens.
        """
        encoded = self._tokenizer.encode(text)
        ids = list(encoded.ids)
        if self._first_token is not None:
            ids[0] = self._first_token
        return Tokens(tuple(ids), tuple(encoded.offsets))


class WordPieceTokenizer(TextTokenizer):
    """Text to ids with [CLS] (or `first_token` in its place) and [SEP], and each token's characters."""

    pad = 0

    @classmethod
    def from_folder(cls, folder: Path, *, first_token: int | None = None) -> WordPieceTokenizer:
        """From `tokenizer.json` or `vocab.txt` (lower-case).

        A tokenizer.json without lower-casing or [CLS] and [SEP] gets them, as all models here were trained with both.
        Raises ModelError when neither file is there, or is no WordPiece vocabulary of BERT's.
        """
        if (folder / "tokenizer.json").is_file():
            return cls(_uncased(folder / "tokenizer.json"), first_token=first_token)
        if (folder / "vocab.txt").is_file():
            return cls.from_vocabulary(folder / "vocab.txt", first_token=first_token)
        raise ModelError(f"{folder}: neither tokenizer.json nor vocab.txt; copy the tokenizer files beside the weights")

    @classmethod
    def from_vocabulary(cls, path: Path, *, first_token: int | None = None) -> WordPieceTokenizer:
        """From a vocabulary file, one piece a line, lower-case."""
        wordpiece = BertWordPieceTokenizer(vocab=str(path), lowercase=True)
        return cls(wordpiece._tokenizer, first_token=first_token)


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a tokenizer.json. Raises ModelError."""
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises a bare Exception
        raise ModelError(f"{path} is no tokenizer: {error}") from error


def _uncased(path: Path) -> Tokenizer:
    """The tokenizer of a file, with [CLS] and [SEP] around and everything in lower case."""
    tokenizer = read_tokenizer(path)
    start, end = (tokenizer.token_to_id(piece) for piece in (START, END))
    if start is None or end is None:
        raise ModelError(
            f"{path} has no pieces {START} and {END}; it is not BERT's: copy the model's own tokenizer files"
        )
    ids = tokenizer.encode("cat").ids
    if [ids[0], ids[-1]] != [start, end] or len(ids) < 3:
        tokenizer.post_processor = BertProcessing((END, end), (START, start))
    if tokenizer.encode("CAT").ids != tokenizer.encode("cat").ids:
        tokenizer.normalizer = BertNormalizer(lowercase=True)
    return tokenizer


def pad_prompts(sequences: Sequence[Sequence[int]], pad: int = 0) -> tuple[Tensor, Tensor]:
    """Ids (B, T) padded at the end and the mask (B, T) bool of real tokens."""
    length = max(len(ids) for ids in sequences)
    ids = torch.tensor([[*row, *[pad] * (length - len(row))] for row in sequences])
    lengths = torch.tensor([len(row) for row in sequences])
    return ids, torch.arange(length) < lengths[:, None]
