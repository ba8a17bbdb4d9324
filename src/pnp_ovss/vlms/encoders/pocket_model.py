"""The pocket model: a small vision-language model of our own, in the shape of BLIP's image-text matching model.

Image tokens (EfficientNet-lite2, stride 16) → text encoder with cross-attention in every layer → position 0 → matching head.
How it was trained, on what, and what it can do: weights/MODEL_CARD.md.
"""

import dataclasses
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from pnp_ovss.errors import ModelError
from pnp_ovss.vlms.base import rounded_half
from pnp_ovss.vlms.encoders.efficientnet import HEAD_CHANNELS, MIDDLE_CHANNELS, EfficientNetLite2
from pnp_ovss.vlms.encoders.pocket_text import PocketConfig, TextEncoder

MEAN = (127 / 255, 127 / 255, 127 / 255)  # of pixels in [0, 1]: (x·255 − 127) / 128, as the trunk was trained
STD = (128 / 255, 128 / 255, 128 / 255)
SIZE_MULTIPLE_PX = 32
MANTISSA_BITS = 9
"""Of float16's 10 in the weights' file, which compresses by a twentieth more."""
ENC, SEP, PAD, UNK = "[ENC]", "[SEP]", "[PAD]", "[UNK]"


class PocketImageEncoder(nn.Module):
    """Pixels to image tokens: trunk features of two depths, each projected linearly, plus a position table."""

    def __init__(self, config: PocketConfig, trunk: EfficientNetLite2):
        super().__init__()
        self.trunk = trunk
        self.project_middle = nn.Linear(MIDDLE_CHANNELS, config.width, bias=False)
        self.project_top = nn.Linear(HEAD_CHANNELS, config.width)
        self.position = nn.Parameter(torch.zeros(config.width, config.grid_patches, config.grid_patches))

    def forward(self, pixels: Tensor) -> Tensor:
        """Tokens (B, H/16 · W/16, width), row-major, of normalised `pixels` (B, 3, H, W), H and W multiples of 32."""
        height, width = pixels.shape[-2:]
        if height % SIZE_MULTIPLE_PX or width % SIZE_MULTIPLE_PX:
            raise ModelError(f"the pocket model needs multiples of {SIZE_MULTIPLE_PX} px, got {height} x {width}")
        return self.tokens(self.trunk.middle(pixels))

    def tokens(self, middle: Tensor) -> Tensor:
        """Tokens (B, h · w, width) of the trunk's middle features (B, 120, h, w)."""
        top = self.trunk.top(middle)
        projected = self.project_middle(middle.permute(0, 2, 3, 1)) + self.project_top(top.permute(0, 2, 3, 1))
        return (projected + self._positions((middle.shape[-2], middle.shape[-1]))).flatten(1, 2)

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        table = F.interpolate(self.position[None], size=grid, mode="bicubic", align_corners=False)
        return table[0].permute(1, 2, 0)


class PocketModel(nn.Module):
    """Image encoder, text encoder and matching head; index 1 of the head is "match", read at position 0 ([ENC])."""

    def __init__(self, config: PocketConfig, trunk: EfficientNetLite2 | None = None):
        super().__init__()
        self.config = config
        self.image_encoder = PocketImageEncoder(config, trunk or EfficientNetLite2())
        self.text_encoder = TextEncoder(config)
        self.itm_head = nn.Linear(config.width, 2)

    def forward(self, pixels: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Matching logits (B, 2) of images `pixels` (B, 3, H, W) and texts (B, T)."""
        return self.match(self.image_encoder(pixels), input_ids, attention_mask)

    def match(self, tokens: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Matching logits (B, 2) of image `tokens` (B, N, width) and texts (B, T)."""
        return self.itm_head(self.text_encoder(input_ids, attention_mask, tokens)[:, 0])


def weights_folder() -> Path:
    """The folder of the weights that come with the package."""
    return Path(str(files("pnp_ovss") / "weights"))


def make_tokenizer(vocabulary: Path) -> Tokenizer:
    """WordPiece tokenizer with character offsets from a file of one piece a line; texts become [ENC] ... [SEP]."""
    pieces = vocabulary.read_text(encoding="utf-8").splitlines()
    ids = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocab=ids, unk_token=UNK, max_input_chars_per_word=400))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = [(ENC, ids[ENC]), (SEP, ids[SEP])]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{ENC} $A {SEP}", special_tokens=special)
    tokenizer.add_special_tokens([ENC, SEP, PAD, UNK])
    return tokenizer


def save_pocket(model: PocketModel, path: Path, notes: dict[str, str] | None = None) -> None:
    """Write all weights, the trunk's too, in float16 with MANTISSA_BITS, with the config as metadata."""
    kept = {name: rounded_half(tensor, MANTISSA_BITS) for name, tensor in model.state_dict().items()}
    metadata = {"config": json.dumps(dataclasses.asdict(model.config)), **(notes or {})}
    save_file(kept, path, metadata=metadata)


class _NoRandomNumbers(TorchFunctionMode):
    """New parameters stay as memory gave them: they are about to be replaced. (The meta device would import half of torch.)"""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, drawn = kwargs or {}, (nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_)
        return kwargs["tensor"] if func in drawn else func(*args, **kwargs)


def load_pocket(path: Path | str | None = None) -> tuple[PocketModel, Tokenizer]:
    """The pocket model (float32, evaluation mode, frozen) and its tokenizer.

    `path` is a safetensors file with `pocket-vocab.txt` beside it; None takes the built-in one. Raises ModelError.
    """
    advice = "copy it there or pass another path" if path else "reinstall pnp-ovss"
    path = Path(path) if path else weights_folder() / "pocket.safetensors"
    vocabulary = path.parent / "pocket-vocab.txt"
    missing = [str(file) for file in (path, vocabulary) if not file.is_file()]
    if missing:
        raise ModelError(f"the pocket model's file {missing[0]} is missing; {advice}")
    try:
        with safe_open(path, framework="pt") as stored:
            config = PocketConfig(**json.loads((stored.metadata() or {})["config"]))
            weights = {name: stored.get_tensor(name).float() for name in stored.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ModelError(f"{path} is not a pocket model: {error}") from error
    with _NoRandomNumbers():
        model = PocketModel(config)
    found = model.load_state_dict(weights, strict=False, assign=True)
    if found.unexpected_keys or found.missing_keys:
        parts = f"missing {found.missing_keys[:3]}, unexpected {found.unexpected_keys[:3]}"
        raise ModelError(f"{path} does not fit its own config: {parts}")
    tokenizer = make_tokenizer(vocabulary)
    if tokenizer.get_vocab_size() != config.vocabulary:
        raise ModelError(f"{vocabulary} has {tokenizer.get_vocab_size()} pieces, the model {config.vocabulary}")
    return model.eval().requires_grad_(False), tokenizer
