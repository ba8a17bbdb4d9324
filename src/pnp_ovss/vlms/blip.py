"""BLIP image-text retrieval checkpoints (Li et al. 2022): ViT + BERT with cross-attention + ITM head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pnp_ovss.config import Gradient, Precision
from pnp_ovss.presets import ModelPreset
from pnp_ovss.prompt import Prompt, Tokens
from pnp_ovss.vlms.base import CrossAttention, Head, ImageFeatures, evaluating, scatter_patches
from pnp_ovss.vlms.checkpoint import expect_heads, expect_vocabulary, load_pretrained, read_config
from pnp_ovss.vlms.text_stream import CrossModalStream, TextStream
from pnp_ovss.vlms.vision_stream import VisionStream
from pnp_ovss.vlms.wordpiece import TextTokenizer, WordPieceTokenizer, pad_prompts

if TYPE_CHECKING:
    from transformers import BlipForImageTextRetrieval

ENC_TOKEN = 30523
"""[ENC] of LAVIS, at position 0 of every text; transformers leaves [CLS] there."""
VOCABULARY_SIZE = 30524
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class CrossAttentionVLM:
    """What BLIP and its like share: a text stream with cross-attention over one image's tokens.

    model: the module that holds both; attention and matching leave it as it is. prefix_tokens: image tokens before
    the patches ([CLS]).
    """

    def __init__(self, name: str, model: Any, text: CrossModalStream, tokenizer: TextTokenizer) -> None:
        self.name = name
        self.model: nn.Module = model
        self.text = text
        self.tokenizer = tokenizer
        self.layers = text.cross_layers
        self.heads = text.heads
        self.prefix_tokens = 0
        self.max_tokens = text.max_tokens

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.text.itm_head.weight.device

    def tokenize(self, text: str) -> Tokens:
        """Ids with special tokens and the character offsets of each."""
        return self.tokenizer(text)

    def attend(
        self, image: ImageFeatures, prompt: Prompt, *, layers: Sequence[int], head: Head, gradient: Gradient
    ) -> tuple[CrossAttention, ...]:
        """Attention and gradient of these layers (from 1), (heads, T, P_h·P_w) each."""
        ids = torch.tensor([prompt.token_ids], device=self.device)
        with evaluating(self.model):
            logits, found = self.text.attend(image.tokens, ids, layers, head, gradient)
        return tuple(
            CrossAttention(
                self._patches(found[layer][0], image),
                None if found[layer][1] is None else self._patches(found[layer][1], image),
                image.grid,
                logits[0].float(),
            )
            for layer in layers
        )

    def patch_tokens(self, image: ImageFeatures) -> Tensor:
        """(N', D) tokens of the patches; of several layers' (BridgeTower's) the last."""
        return image.tokens[-1, self.prefix_tokens :]

    def match(self, image: ImageFeatures, prompts: Sequence[Prompt]) -> Tensor:
        """Matching logits (len(prompts), 2), float32; the image's keys and values are shared by all prompts."""
        ids, mask = pad_prompts([p.token_ids for p in prompts], self.tokenizer.pad)
        with evaluating(self.model):
            return self.text.match(image.tokens, ids.to(self.device), mask.to(self.device)).float()

    def _patches(self, values: Tensor | None, image: ImageFeatures) -> Tensor:
        assert values is not None
        return scatter_patches(values[..., self.prefix_tokens :], image.kept)


class BlipVLM(CrossAttentionVLM):
    """A `BlipForImageTextRetrieval` of transformers behind the adapter protocol.

    Raises ModelError when the head count or the vocabulary is not BLIP's (12 heads for 768 wide; 30524 entries):
    a wrong value loads silently and gives meaningless maps.
    """

    mean = CLIP_MEAN
    std = CLIP_STD
    vocabulary_sizes = (VOCABULARY_SIZE,)

    def __init__(
        self,
        model: BlipForImageTextRetrieval,
        tokenizer: WordPieceTokenizer,
        *,
        name: str = "blip",
        precision: Precision = "float32",
    ) -> None:
        _check_blip(model, name, self.vocabulary_sizes)
        if precision != "float32":
            model.vision_model.bfloat16()
        if precision == "bfloat16":
            model.bfloat16()
        super().__init__(name, model, TextStream(model.text_encoder, model.itm_head), tokenizer)
        self.vision = VisionStream(model.vision_model)
        self.patch_px = self.size_step_px = self.vision.patch_px
        self.prefix_tokens = 1

    def encode(self, pixels: Tensor, kept: Tensor | None = None) -> ImageFeatures:
        """(3, S_h, S_w) normalised pixels to (1, 1 + N', D) tokens, in the text part's precision."""
        grid = (pixels.shape[1] // self.patch_px, pixels.shape[2] // self.patch_px)
        with evaluating(self.model):
            tokens = self.vision(pixels[None].to(self.device), kept)
        return ImageFeatures(tokens.to(self.text.itm_head.weight.dtype), grid, kept)


def _check_blip(model: Any, name: str, vocabulary_sizes: Sequence[int]) -> None:
    text, vision = model.config.text_config, model.config.vision_config
    expect_heads(name, text.num_attention_heads, text.hidden_size, "num_attention_heads")
    expect_heads(name, vision.num_attention_heads, vision.hidden_size, "vision num_attention_heads")
    rows = model.text_encoder.embeddings.word_embeddings.num_embeddings
    expect_vocabulary(name, rows, vocabulary_sizes)


def load_blip(preset: ModelPreset, folder: Path, *, precision: Precision = "float32") -> BlipVLM:
    """Load a BLIP checkpoint from a folder of transformers' layout (config.json, *.safetensors, tokenizer files)."""
    from transformers import BlipConfig, BlipForImageTextRetrieval

    config: Any = BlipConfig.from_dict(read_config(folder, "blip"))
    config.text_config.is_decoder = True
    if (config.text_config.hidden_size, config.text_config.num_attention_heads) == (768, 8):
        # Some published config.json carry transformers' default; the weights have 12 heads.
        config.text_config.num_attention_heads = 12
    model = load_pretrained(BlipForImageTextRetrieval, folder, config)
    tokenizer = WordPieceTokenizer.from_folder(folder, first_token=ENC_TOKEN)
    return BlipVLM(model, tokenizer, name=preset.name, precision=precision)
