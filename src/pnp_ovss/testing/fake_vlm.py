"""A vision-language model whose answers are known: it attends to the patches that have the colour a word names.

Class names are colours ("red", "dark green"); everything around the model, from prompts to masks, can be tested with
exact expectations and without weights. It has the traits that the method lives on: attention is drawn to a distractor
which the gradient tells from the object, and a faint object shows only after a more salient one was dropped.
It is the family `fake`; `FAKE_PRESET` is what to give as the model's name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from pnp_ovss.config import Gradient, Precision
from pnp_ovss.presets import ModelPreset
from pnp_ovss.prompt import Prompt, Tokens
from pnp_ovss.vlms.base import CrossAttention, Head, ImageFeatures, head_index, scatter_patches

COLOURS = {
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
    "yellow": (1.0, 1.0, 0.0),
    "white": (1.0, 1.0, 1.0),
    "grey": (0.5, 0.5, 0.5),
}
DISTRACTOR = (1.0, 0.0, 1.0)
"""Magenta: every word looks here most; it lowers the match, and lowers "no match" even more."""
SIGNAL_LAYER, SIGNAL_HEAD = 2, 2
CLOSING = 1
"""The id of [SEP], which is for the distractor: what `drop_score = "tokens"` drops besides the objects."""
FAKE_PRESET = Path(__file__).with_name("fake.toml")
"""The preset of the family `fake`: the layer and head that see, no refiner."""


class FakeVLM:
    """Adapter protocol over mean patch colours. Layer 2, head 2 sees colours; every other one is uniform.

    A text matches when one of its colours covers at least 2 % of the image. Words that are no colour attend evenly.
    precision: `bfloat16` and `bfloat16-vision` round the colours.
    """

    name = "fake"
    layers = (1, 2, 3)
    heads = 4
    patch_px = 8
    size_step_px = 8
    mean = (0.5, 0.5, 0.5)
    std = (0.25, 0.25, 0.25)

    def __init__(self, *, max_tokens: int = 64, precision: Precision = "float32") -> None:
        self.max_tokens = max_tokens
        self.model = torch.nn.Linear(1, 1, dtype=torch.float32 if precision == "float32" else torch.bfloat16)
        torch.nn.init.constant_(self.model.weight, 1.0)  # every fake model has the same weights
        torch.nn.init.zeros_(self.model.bias)
        self.encoded = 0
        self._words: list[str] = ["[CLS]", "[SEP]"]

    @property
    def device(self) -> torch.device:
        """Where the (only) weights are."""
        return self.model.weight.device

    def tokenize(self, text: str) -> Tokens:
        """One token a word, any script; offsets are characters."""
        words = [(m.group().lower(), m.span()) for m in re.finditer(r"\w+", text)]
        ids = [self._id(word) for word, _ in words]
        return Tokens((0, *ids, CLOSING), ((0, 0), *(span for _, span in words), (0, 0)))

    def _id(self, word: str) -> int:
        if word not in self._words:
            self._words.append(word)
        return self._words.index(word)

    def encode(self, pixels: Tensor, visible: Tensor | None = None) -> ImageFeatures:
        """Mean colour (1, N', 3) of each patch, in [0, 1]."""
        self.encoded += 1
        plain = pixels * pixels.new_tensor(self.std)[:, None, None] + pixels.new_tensor(self.mean)[:, None, None]
        cells = F.avg_pool2d(plain[None], self.patch_px)
        tokens = cells.flatten(2).transpose(1, 2).to(self.model.weight.dtype).to(pixels.dtype)
        return ImageFeatures(
            tokens if visible is None else tokens[:, visible], (cells.shape[2], cells.shape[3]), visible
        )

    def attend(
        self, image: ImageFeatures, prompt: Prompt, *, layers: Sequence[int], head: Head, gradient: Gradient
    ) -> tuple[CrossAttention, ...]:
        """Attention grows with the likeness of patch and word, and is largest at the distractor.

        The gradient is positive for the likest patches in sight: a fainter object has none until those are gone.
        """
        logits = self.match(image, [prompt])[0]
        looks, slopes = self._signal(image.tokens[0], prompt)
        found = []
        for layer in layers:
            scores = torch.zeros(self.heads, *looks.shape)
            moves = torch.stack([torch.zeros_like(scores), torch.full_like(scores, -0.5)])
            if layer == SIGNAL_LAYER:
                scores[head_index(SIGNAL_HEAD)] = looks
                moves[:, head_index(SIGNAL_HEAD)] = slopes[:, None]
            maps = (scores.softmax(dim=-1), _gradient(moves, logits, gradient))
            probs, grad = (scatter_patches(each[head_index(head)], image.visible) for each in maps)
            found.append(CrossAttention(probs, None if gradient == "none" else grad, image.grid, logits))
        return tuple(found)

    def patch_tokens(self, image: ImageFeatures) -> Tensor:
        """(N', 3) the patches' colours."""
        return image.tokens[0]

    def _signal(self, cells: Tensor, prompt: Prompt) -> tuple[Tensor, Tensor]:
        """Attention scores (T, N') and by how much attention moves each logit: (2, T, N'), index 1 = match."""
        likeness = torch.stack([self._likeness(cells, i) for i in prompt.token_ids])
        distractor = _likeness(cells, DISTRACTOR) ** 3  # no faint red is it
        best = likeness.amax(dim=1, keepdim=True)
        match = likeness - (0.9 * best).clamp(min=0.5) - distractor
        match[-1] = distractor  # [SEP]
        return 8 * likeness + 9 * distractor, torch.stack([-2 * distractor.expand_as(match), match])

    def match(self, image: ImageFeatures, prompts: Sequence[Prompt]) -> Tensor:
        """(n, 2) logits: ±4 as the best colour of the text covers 2 % of the patches or not."""
        covered = [max(self._cover(image.tokens[0], i) for i in prompt.token_ids) for prompt in prompts]
        match = torch.tensor([4.0 if share >= 0.02 else -4.0 for share in covered])
        return torch.stack([-match, match], dim=1)

    def _cover(self, cells: Tensor, token: int) -> float:
        likeness = self._likeness(cells, token)
        return float((likeness > 0.8).float().mean()) if self._words[token] in COLOURS else 0.0

    def _likeness(self, cells: Tensor, token: int) -> Tensor:
        """(N',) in [0, 1]: 1 where the patch has the word's colour; 0.5 for words that are no colour."""
        colour = COLOURS.get(self._words[token])
        return torch.full(cells.shape[:1], 0.5) if colour is None else _likeness(cells, colour)


def load_fake(preset: ModelPreset, folder: Path | None, *, precision: Precision = "float32") -> FakeVLM:  # noqa: ARG001
    """The loader of the family `fake`."""
    return FakeVLM(precision=precision)


def _likeness(cells: Tensor, colour: tuple[float, float, float]) -> Tensor:
    return torch.exp(-4 * (cells - cells.new_tensor(colour)).square().sum(dim=-1))


def _gradient(slopes: Tensor, logits: Tensor, gradient: Gradient) -> Tensor:
    """∂objective/∂attention (...). slopes: (2, ...) of the two logits; logits: (2,), index 1 = match."""
    if gradient == "match_logit":
        return slopes[1]
    margin = slopes[1] - slopes[0]
    return -logits.softmax(dim=0)[0] * margin if gradient == "paper-literal" else margin
