"""RoBERTa's byte-level BPE tokenizer with character offsets, straight from `tokenizers` (no hub, no fallback)."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.implementations import ByteLevelBPETokenizer
from tokenizers.processors import RobertaProcessing

from pnp_ovss.errors import ModelError
from pnp_ovss.vlms.encoders.wordpiece import TextTokenizer, read_tokenizer

START, PAD, END = "<s>", "<pad>", "</s>"


class BpeTokenizer(TextTokenizer):
    """Text to ids between <s> and </s>, and each token's characters; a leading space is part of the token only."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer, unknown="<unk>")
        found = [tokenizer.token_to_id(piece) for piece in (PAD, START, END)]
        if None in found:
            raise ModelError(f"the tokenizer lacks a piece of {PAD}, {START}, {END}; it is not RoBERTa's")
        self.pad, start, end = (int(id or 0) for id in found)
        ids = tokenizer.encode("cat").ids
        if len(ids) < 3 or [ids[0], ids[-1]] != [start, end]:
            tokenizer.post_processor = RobertaProcessing((END, end), (START, start), add_prefix_space=False)

    @classmethod
    def from_folder(cls, folder: Path) -> BpeTokenizer:
        """From `tokenizer.json`, or `vocab.json` with `merges.txt`. Raises ModelError when neither is there."""
        if (folder / "tokenizer.json").is_file():
            return cls(read_tokenizer(folder / "tokenizer.json"))
        files = folder / "vocab.json", folder / "merges.txt"
        if not all(file.is_file() for file in files):
            raise ModelError(
                f"{folder}: neither tokenizer.json nor vocab.json with merges.txt; "
                "copy the tokenizer files beside the weights"
            )
        bpe = ByteLevelBPETokenizer(str(files[0]), str(files[1]))
        return cls(bpe._tokenizer)
