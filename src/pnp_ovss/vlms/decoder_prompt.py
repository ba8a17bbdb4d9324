"""A question in a decoder's own chat template, and the answers by which it says that a text matches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pnp_ovss.checkpoint import refusing
from pnp_ovss.errors import ClassNameError, ModelError
from pnp_ovss.files import read_json
from pnp_ovss.prompt import Tokens

SPELLINGS = {"no": ("no", "No", "NO", " no", " No"), "yes": ("yes", "Yes", "YES", " yes", " Yes")}
PROBE = "Is there a cat?"


@dataclass(frozen=True)
class ChatFiles:
    """What a checkpoint's folder says of its texts: a tokenizer of `tokenizers`, its template ("" = none), its first token."""

    tokenizer: Any
    template: str
    first: str = ""

    @classmethod
    def from_folder(cls, folder: Path) -> ChatFiles:
        """From tokenizer.json, tokenizer_config.json and chat_template.jinja or .json. Raises ModelError."""
        from tokenizers import Tokenizer

        if not (folder / "tokenizer.json").is_file():
            raise ModelError(f"{folder}: no tokenizer.json; copy the tokenizer's files beside the weights")
        with refusing(folder):
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        says = _read(folder / "tokenizer_config.json")
        first = says.get("bos_token") or ""
        return cls(
            tokenizer, _template(folder, says), str(first.get("content", "")) if isinstance(first, dict) else first
        )


class Chat:
    """Texts as the model was trained to read them, the image's place among them.

    image_token: what stands for the image; around: what its processor puts before and after the image's tokens.
    prefix: the ids before the image. `unknown` is for `models check`.
    """

    def __init__(
        self, files: ChatFiles, image_token: int, around: tuple[str, str] = ("", ""), *, plain: bool = False
    ) -> None:
        from transformers import PreTrainedTokenizerFast

        self.files, self.around, self.image_token = files, around, image_token
        self.place = files.tokenizer.id_to_token(image_token)
        if self.place is None:
            raise ModelError(f"the image's token {image_token} is not in the tokenizer; they belong to other models")
        if not files.template and not plain:
            raise ModelError(
                "no chat template (chat_template.jinja or .json, or in tokenizer_config.json); copy it beside the weights"
            )
        self.unknown = _unknown(files.tokenizer)
        self._renderer = PreTrainedTokenizerFast(tokenizer_object=files.tokenizer, bos_token=files.first or None)
        self.prefix = self._encode(PROBE)[0]

    def __call__(self, text: str) -> Tokens:
        """What follows the image: ids, and the characters of `text` that each stands for, (0, 0) for the template's."""
        return self._encode(text)[1]

    def render(self, text: str) -> str:
        """The whole text, with one placeholder for the image."""
        if not self.files.template:  # PaliGemma: the image, then <bos>, the question and a line's end
            return f"{self.place}{self.files.first}{text}\n"
        asked: Any = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]
        rendered = self._renderer.apply_chat_template(
            asked,
            chat_template=self.files.template,
            tokenize=False,
            add_generation_prompt=True,
        )
        return str(rendered).replace(self.place, f"{self.around[0]}{self.place}{self.around[1]}", 1)

    def _encode(self, text: str) -> tuple[tuple[int, ...], Tokens]:
        """Ids before the image, tokens after it."""
        whole = self.render(text)
        first = self.files.first
        encoded = self.files.tokenizer.encode(
            whole, add_special_tokens=bool(self.files.template) and not (first and whole.startswith(first))
        )
        places = [i for i, token in enumerate(encoded.ids) if token == self.image_token]
        start = whole.rfind(text)
        if len(places) != 1 or start < 0:
            raise ClassNameError(
                f"{text[:60]!r} does not come once, as it is, and with one image out of the model's chat template; a name "
                "may hold no special token"
            )
        if start < whole.index(self.place):
            raise ModelError("the chat template puts the image after the words, which can then not look at it")
        after = places[0] + 1
        offsets = tuple(_inside(a - start, b - start, len(text)) for a, b in encoded.offsets[after:])
        return tuple(encoded.ids[: after - 1]), Tokens(tuple(encoded.ids[after:]), offsets)

    def answers(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The ids of "no" and of "yes", in all spellings that are one token. Raises ModelError when one has none."""
        found = {word: self._single(spellings) for word, spellings in SPELLINGS.items()}
        for word, ids in found.items():
            if not ids:
                raise ModelError(
                    f"'{word}' is no single token of this model in any spelling; its answer cannot be read"
                )
        return found["no"], found["yes"]

    def _single(self, spellings: Iterable[str]) -> tuple[int, ...]:
        encoded = (self.files.tokenizer.encode(s, add_special_tokens=False).ids for s in spellings)
        return tuple(dict.fromkeys(ids[0] for ids in encoded if len(ids) == 1 and ids[0] != self.unknown))


def _inside(start: int, end: int, length: int) -> tuple[int, int]:
    """Characters start-end cut to those of a text of this length; (0, 0) where none is left."""
    start, end = max(start, 0), min(end, length)
    return (start, end) if start < end else (0, 0)


def _unknown(tokenizer: Any) -> int | None:
    return next((i for name in ("<unk>", "[UNK]") if (i := tokenizer.token_to_id(name)) is not None), None)


def _read(path: Path) -> dict[str, Any]:
    found = read_json(path, error=ModelError) if path.is_file() else {}
    return found if isinstance(found, dict) else {}


def _template(folder: Path, says: dict[str, Any]) -> str:
    """The chat template of a folder; of several named ones the default."""
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text("utf-8")
    found = _read(folder / "chat_template.json").get("chat_template") or says.get("chat_template") or ""
    if isinstance(found, list):
        found = next((entry["template"] for entry in found if entry.get("name") == "default"), "")
    return str(found)
