"""A vision-language model whose answers are known: it attends to the patches that have the colour a word names.

Class names are colours ("red", "dark green"); everything around the model, from prompts to masks, can be tested with
exact expectations and without weights.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pnp_ovss.config import Gradient
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
SIGNAL_LAYER, SIGNAL_HEAD = 2, 2


class FakeVLM:
    """Adapter protocol over mean patch colours. Layer 2, head 2 sees colours; every other one is uniform.

    A text matches when one of its colours covers at least 2 % of the image. Words that are no colour attend evenly.
    """

    name = "fake"
    layers = (1, 2, 3)
    heads = 4
    patch_px = 8
    size_step_px = 8
    mean = (0.5, 0.5, 0.5)
    std = (0.25, 0.25, 0.25)

    def __init__(self, *, max_tokens: int = 64) -> None:
        self.max_tokens = max_tokens
        self.model = torch.nn.Linear(1, 1)
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
        return Tokens((0, *ids, 1), ((0, 0), *(span for _, span in words), (0, 0)))

    def _id(self, word: str) -> int:
        if word not in self._words:
            self._words.append(word)
        return self._words.index(word)

    def encode(self, pixels: Tensor, kept: Tensor | None = None) -> ImageFeatures:
        """Mean colour (1, N', 3) of each patch, in [0, 1]."""
        self.encoded += 1
        plain = pixels * pixels.new_tensor(self.std)[:, None, None] + pixels.new_tensor(self.mean)[:, None, None]
        cells = F.avg_pool2d(plain[None], self.patch_px)
        tokens = cells.flatten(2).transpose(1, 2)
        return ImageFeatures(tokens if kept is None else tokens[:, kept], (cells.shape[2], cells.shape[3]), kept)

    def attend(
        self, image: ImageFeatures, prompt: Prompt, *, layers: Sequence[int], head: Head, gradient: Gradient
    ) -> tuple[CrossAttention, ...]:
        """Attention grows with the likeness of patch and word; the gradient is the likeness, negative for none."""
        likeness = torch.stack([self._likeness(image.tokens[0], i) for i in prompt.token_ids])
        logits = self.match(image, [prompt])[0]
        found = []
        for layer in layers:
            signal = torch.zeros(self.heads, *likeness.shape)
            if layer == SIGNAL_LAYER:
                signal[head_index(SIGNAL_HEAD)] = likeness
            probs = scatter_patches((6 * signal).softmax(dim=-1)[head_index(head)], image.kept)
            grad = scatter_patches((signal - 0.5)[head_index(head)], image.kept)
            found.append(CrossAttention(probs, None if gradient == "none" else grad, image.grid, logits))
        return tuple(found)

    def patch_tokens(self, image: ImageFeatures) -> Tensor:
        """(N', 3) the patches' colours."""
        return image.tokens[0]

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
        if colour is None:
            return torch.full(cells.shape[:1], 0.5)
        return torch.exp(-4 * (cells - cells.new_tensor(colour)).square().sum(dim=-1))
