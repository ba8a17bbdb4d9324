"""Any vision-language decoder of transformers (LLaVA, Qwen-VL, PaliGemma, SmolVLM, InternVL ...); beyond the paper.

The question "Is there ... in this picture?" follows the image, so that its words attend to the image's tokens in every
layer, and the answer is a match: logits = (no, yes) at the answer's first position, several spellings merged by
logsumexp. The map is the block of one layer's self-attention with the words as rows and the image's tokens as columns;
its rows sum to less than 1, the rest goes to other text.

Where attention is causal, nothing of the image depends on the words: their keys and values are computed once a photo,
and maps, gradients and matches run the words alone. This is exact, not an approximation.
"""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pnp_ovss.checkpoint import merged_patches, refusing, token_px
from pnp_ovss.config import Gradient, Precision
from pnp_ovss.errors import ConfigError, ModelError
from pnp_ovss.prompt import Prompt, Tokens
from pnp_ovss.vlms.base import (
    CLIP_MEAN,
    CLIP_STD,
    CrossAttention,
    Head,
    ImageFeatures,
    at_least_float32,
    evaluating,
    scatter_patches,
)
from pnp_ovss.vlms.decoder_attention import Watch, frozen, watching
from pnp_ovss.vlms.decoder_families import FAMILIES, cached, family_for
from pnp_ovss.vlms.decoder_prompt import Chat, ChatFiles

TEXTS_AT_ONCE = 4
"""Every text gets a copy of the image's keys and values."""
MAX_WORDS = 512
"""Tokens after the image in one prompt."""
LAST = torch.tensor([-1])
"""The answer's position. As an index: of a slice torch multiplies copies of the whole word table, in bfloat16 minutes long."""

Triple = tuple[float, float, float]


class DecoderVLM:
    """A `...ForConditionalGeneration` of transformers behind the adapter protocol; the model is left as it is.

    model: with `vision_config`, `text_config`, `get_image_features` and attention through `AttentionInterface`.
    mean, std: of its image processor. Raises ModelError that says what a model lacks.
    """

    def __init__(
        self,
        model: Any,
        files: ChatFiles,
        *,
        mean: Triple = CLIP_MEAN,
        std: Triple = CLIP_STD,
        name: str = "decoder",
        precision: Precision = "float32",
    ) -> None:
        if precision == "bfloat16-vision":
            raise ConfigError(f"{name} reads text and image in one decoder; use precision float32 or bfloat16")
        self.name, self.mean, self.std = name, mean, std
        self.model: Any = model.bfloat16() if precision == "bfloat16" else model
        self.family = family_for(model)
        self.tokenizer = Chat(files, model.config.image_token_id, self.family.around, plain=self.family.plain)
        self._answers = [torch.tensor(ids) for ids in self.tokenizer.answers()]
        text = model.config.get_text_config()
        self.layers = tuple(range(1, int(text.num_hidden_layers) + 1))
        self.heads = int(text.num_attention_heads)
        self.patch_px = self.size_step_px = token_px(model.config)
        self.max_tokens = min(MAX_WORDS, int(text.max_position_embeddings) // 2)
        self._width = int(text.hidden_size)
        self._latest: tuple[weakref.ref[Tensor], Any] | None = None
        with refusing(name, f"a {model.config.model_type} is not asked about a photo as {', '.join(FAMILIES)} are"):
            self._check_runs()

    def _check_runs(self) -> None:
        """Ask about a grey square once: a model that does not go through our attention is refused, not misread."""
        pixels = torch.full((3, 2 * self.patch_px, 2 * self.patch_px), 0.1, dtype=self.dtype)
        image = self.encode(pixels)
        watch = self._watch(image, text=1, layers=self.layers)
        with watching(self._text_config, watch), evaluating(self.model):
            self._logits(image, [self.tokenize("cat").ids], None)
        if watch.seen != set(self.layers):
            missing = ", ".join(str(layer) for layer in self.layers if layer not in watch.seen)
            raise ModelError(
                f"{self.name}: layers {missing} do not attend through transformers' AttentionInterface; such models have "
                "no map here"
            )

    @property
    def _text_config(self) -> Any:
        return self.model.config.get_text_config()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.get_output_embeddings().weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights."""
        return self.model.get_output_embeddings().weight.dtype

    def tokenize(self, text: str) -> Tokens:
        """What the decoder reads after the image, the chat template's tokens with offsets (0, 0)."""
        return self.tokenizer(text)

    @torch.no_grad()
    def encode(self, pixels: Tensor, visible: Tensor | None = None) -> ImageFeatures:
        """(3, S_h, S_w) normalised pixels to image tokens (1, N', D·(1 + k)).

        Removed patches are grey for the vision tower, and no token of the decoder sees theirs.
        """
        side = self.patch_px
        grid = (pixels.shape[1] // side, pixels.shape[2] // side)
        shown = pixels[None].to(self.device, self.dtype)
        if visible is not None:
            mask = visible.to(shown).reshape(1, 1, *grid)
            shown = shown * mask.repeat_interleave(side, 2).repeat_interleave(side, 3)
        with evaluating(self.model):
            tokens = self.family.image_features(self.model, shown)
        kept = tokens if visible is None else tokens[:, visible.to(tokens.device)]
        return ImageFeatures(kept.to(self.dtype), grid, visible)

    def attend(
        self, image: ImageFeatures, prompt: Prompt, *, layers: Sequence[int], head: Head, gradient: Gradient
    ) -> tuple[CrossAttention, ...]:
        """Attention and gradient of these layers (from 1), (heads, T, P_h·P_w) each; T are the tokens after the image."""
        watch = self._watch(image, text=len(prompt.token_ids), layers=layers, head=head, gradient=gradient)
        with evaluating(self.model), frozen(self.model):
            prefix = self._prefix(image)
            with watching(self._text_config, watch):
                logits = self._logits(image, [prompt.token_ids], prefix)
                found = watch.read(logits)
        shown, logit = self._shown(image), at_least_float32(logits[0].detach())
        return tuple(
            CrossAttention(_only(shown, probs), None if grad is None else _only(shown, grad), image.grid, logit)
            for probs, grad in (found[layer] for layer in layers)
        )

    def patch_tokens(self, image: ImageFeatures) -> Tensor:
        """(N', D) the image's tokens as they enter the decoder."""
        return image.tokens[0, :, : self._width]

    def match(self, image: ImageFeatures, prompts: Sequence[Prompt]) -> Tensor:
        """Logits (len(prompts), 2) of "no" and "yes", float32; texts of one length share a pass."""
        lengths = defaultdict(list)
        for row, prompt in enumerate(prompts):
            lengths[len(prompt.token_ids)].append(row)
        at_once = 1 if self.family.bidirectional else TEXTS_AT_ONCE
        found: dict[int, Tensor] = {}
        with evaluating(self.model):
            prefix = self._prefix(image)
            for rows in lengths.values():
                for chunk in (rows[i : i + at_once] for i in range(0, len(rows), at_once)):
                    with watching(self._text_config, self._watch(image)):
                        logits = self._logits(image, [prompts[row].token_ids for row in chunk], prefix)
                    found |= dict(zip(chunk, at_least_float32(logits), strict=True))
        return torch.stack([found[row] for row in range(len(prompts))])

    def _shown(self, image: ImageFeatures) -> Tensor | None:
        return None if image.visible is None else image.visible.to(self.device)

    def _watch(self, image: ImageFeatures, **options: Any) -> Watch:
        start = len(self.tokenizer.prefix)
        hidden = None if image.visible is None else (~image.visible).nonzero().flatten().to(self.device) + start
        return Watch(slice(start, start + image.grid[0] * image.grid[1]), hidden, **options)

    def _prefix(self, image: ImageFeatures) -> Any:
        """The cache of keys and values up to the image's end; None where the image reads the words. Kept for one photo."""
        if self.family.bidirectional:
            return None
        if self._latest is None or self._latest[0]() is not image.tokens:
            from transformers import DynamicCache

            cache = DynamicCache()
            with watching(self._text_config, self._watch(image)):
                self._run(image, [()], **cached(self.model, cache))
            self._latest = (weakref.ref(image.tokens), cache)
        return self._latest[1]

    def _logits(self, image: ImageFeatures, texts: Sequence[Sequence[int]], prefix: Any) -> Tensor:
        """(B, 2) of texts of one length, with what `_prefix` gave, or the whole sequence anew for None."""
        if prefix is None:
            last = self._run(image, texts).logits[:, -1]
        else:
            positions = self._positions(image, texts[0])
            options = {} if positions is None else {"position_ids": positions.expand(-1, len(texts), -1)}
            ids = torch.tensor([list(text) for text in texts], device=self.device)
            options |= cached(self.model, _copies(prefix, len(texts)))
            last = self.model(input_ids=ids, logits_to_keep=LAST, **options).logits[:, -1]
        parts = [at_least_float32(last[:, ids.to(last.device)]).logsumexp(dim=1) for ids in self._answers]
        return torch.stack(parts, dim=1)

    def _run(self, image: ImageFeatures, texts: Sequence[Sequence[int]], **options: Any) -> Any:
        """The model on [before the image, the image, text] from the start; one text."""
        ids, kinds = self._ids(image, texts[0])
        tokens = scatter_patches(image.tokens.mT, self._shown(image)).mT
        positions = self._grid_positions(ids, kinds, image.grid)
        options |= {} if positions is None else {"position_ids": positions}
        options |= {"token_type_ids": torch.zeros_like(ids)} if self.family.bidirectional else {}
        outputs = self.family.as_outputs(tokens, self._width)
        return self.model(input_ids=ids, mm_encoder_outputs=outputs, logits_to_keep=LAST, **options)

    def _ids(self, image: ImageFeatures, text: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Ids (1, S), and which of them are the image's (1)."""
        before, count = self.tokenizer.prefix, image.grid[0] * image.grid[1]
        ids = [*before, *[self.tokenizer.image_token] * count, *text]
        kinds = [*[0] * len(before), *[1] * count, *[0] * len(text)]
        return torch.tensor([ids], device=self.device), torch.tensor([kinds], device=self.device)

    def _positions(self, image: ImageFeatures, text: Sequence[int]) -> Tensor | None:
        """Positions (3, 1, T) of the words after the image, where the model counts by rows and columns."""
        found = self._grid_positions(*self._ids(image, text), image.grid)
        return None if found is None else found[..., -len(text) :]

    def _grid_positions(self, ids: Tensor, kinds: Tensor, grid: tuple[int, int]) -> Tensor | None:
        index = getattr(self.model.model, "get_rope_index", None)
        if index is None:
            return None
        merged = merged_patches(self.model.config)
        thw = torch.tensor([[1, grid[0] * merged, grid[1] * merged]], device=ids.device)
        return index(ids, mm_token_type_ids=kinds, image_grid_thw=thw)[0]


def _only(shown: Tensor | None, values: Tensor) -> Tensor:
    """Zeros where a patch was removed."""
    return values.detach() if shown is None else values.detach() * shown


def _copies(prefix: Any, count: int) -> Any:
    """A cache of its own for each of `count` texts: the model appends to it."""
    from transformers import DynamicCache

    cache = DynamicCache()
    for index, layer in enumerate(prefix.layers):
        cache.update(layer.keys.expand(count, -1, -1, -1), layer.values.expand(count, -1, -1, -1), index)
    return cache
