"""Small random models of the true architectures, with tokenizers made on the spot: nothing is downloaded.

Weights are drawn so that activations keep their size through the layers (unlike the usual initialisation with 0.02, at
which every attention is uniform and every gradient vanishes).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers.implementations import ByteLevelBPETokenizer
from torch import Tensor, nn

TEXTS = (
    "A picture of cat dog sofa tree grass person bus car boat bottle",
    "a picture of potted plant dining table traffic light red green blue",
    "the quick brown fox jumps over the lazy dog; zebra, wax & quartz-vase 0123456789",
)
WIDTH, HEADS, DEPTH, PATCH_PX, SIDE = 48, 3, 3, 8, 4


def randomise(model: Any, seed: int = 0) -> Any:
    """The model, every parameter drawn anew: matrices with deviation 1.5/√inputs, norms near 1, biases near 0."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data = _scaled(parameter, noise, id(parameter) in embeddings)
    return model.eval().requires_grad_(False)


def _scaled(parameter: Tensor, noise: Tensor, embedding: bool) -> Tensor:
    if embedding or parameter.ndim == 3:  # tables and class tokens
        return noise * 0.5
    if parameter.ndim >= 2:
        return noise * 1.5 / parameter[0].numel() ** 0.5
    return noise * 0.1 + (1.0 if bool((parameter == 1).all()) else 0.0)


def wordpiece_file(folder: Path) -> Path:
    """A small lower-case WordPiece vocabulary `vocab.txt`: most words of `TEXTS` whole, the rest in letters.

    It is written, not trained: the trainer's ids differ from run to run.
    """
    words = sorted(set(" ".join(TEXTS).lower().replace(";", " ; ").replace(",", " , ").replace("-", " - ").split()))
    letters = sorted(set("".join(words)))
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    whole = [w for w in words if len(w) > 1 and w not in ("zebra", "traffic")]  # these two take several pieces
    path = folder / "vocab.txt"
    path.write_text("\n".join([*pieces, *whole]) + "\n", "utf-8")
    return path


def bpe_files(folder: Path) -> Path:
    """A small byte-level BPE vocabulary in RoBERTa's files, `vocab.json` and `merges.txt`, trained on `TEXTS`."""
    tokenizer = ByteLevelBPETokenizer()
    special: list[Any] = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(
        iter(TEXTS), vocab_size=340, min_frequency=1, show_progress=False, special_tokens=special
    )
    tokenizer.save_model(str(folder))
    return folder


def blip_config(vocabulary: int = 30524, depth: int = DEPTH) -> Any:
    """The configuration of a small BLIP (also ALBEF's)."""
    from transformers import BlipConfig

    sizes = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_attention_heads": HEADS}
    vision = {**sizes, "num_hidden_layers": 2, "patch_size": PATCH_PX, "image_size": SIDE * PATCH_PX}
    text = {**sizes, "num_hidden_layers": depth, "encoder_hidden_size": WIDTH, "vocab_size": vocabulary}
    return BlipConfig(
        text_config={**text, "is_decoder": True, "max_position_embeddings": 64, "bos_token_id": 2, "sep_token_id": 3},
        vision_config={**vision, "layer_norm_eps": 1e-6},
        image_text_hidden_size=16,
    )


def small_blip(vocabulary: int = 30524, depth: int = DEPTH) -> Any:
    """A `BlipForImageTextRetrieval`."""
    from transformers import BlipForImageTextRetrieval

    return randomise(BlipForImageTextRetrieval(blip_config(vocabulary, depth)))


def small_bridgetower() -> Any:
    """A `BridgeTowerForImageAndTextRetrieval` with three pairs of cross-modal layers on towers of four."""
    from transformers import BridgeTowerConfig, BridgeTowerForImageAndTextRetrieval

    text = {
        "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_hidden_layers": 4,
        "max_position_embeddings": 66,
    }  # fmt: skip
    vision = {"hidden_size": 64, "num_hidden_layers": 4, "patch_size": PATCH_PX, "image_size": SIDE * PATCH_PX}
    config = BridgeTowerConfig(
        hidden_size=64, num_attention_heads=4, num_hidden_layers=3, text_config=text, vision_config=vision,
        share_cross_modal_transformer_layers=False,
    )  # fmt: skip
    config._attn_implementation = "eager"
    return randomise(BridgeTowerForImageAndTextRetrieval(config))


def small_blip2() -> Any:
    """A `Blip2ForImageTextRetrieval` with five query tokens and four Q-Former layers."""
    from transformers import Blip2Config, Blip2ForImageTextRetrieval

    sizes = {"intermediate_size": 2 * WIDTH, "num_attention_heads": HEADS}
    former = {**sizes, "hidden_size": WIDTH, "encoder_hidden_size": 36, "num_hidden_layers": 4, "vocab_size": 30523}
    vision = {**sizes, "hidden_size": 36, "num_hidden_layers": 2, "patch_size": PATCH_PX, "image_size": SIDE * PATCH_PX}
    config = Blip2Config(
        qformer_config={**former, "use_qformer_text_input": True, "max_position_embeddings": 64},
        vision_config=vision,
        num_query_tokens=5,
        image_text_hidden_size=16,
    )
    return randomise(Blip2ForImageTextRetrieval._from_config(config, attn_implementation="eager"))


def small_vilt() -> Any:
    """A `ViltForImageAndTextRetrieval`."""
    from transformers import ViltConfig, ViltForImageAndTextRetrieval

    config = ViltConfig(
        hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_attention_heads=HEADS, num_hidden_layers=DEPTH,
        patch_size=PATCH_PX, image_size=SIDE * PATCH_PX, max_position_embeddings=40,
    )  # fmt: skip
    return randomise(ViltForImageAndTextRetrieval(config))
