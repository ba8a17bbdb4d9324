"""Where training starts: ImageNet predictions of all photos, and a model whose word-patch scores are the trunk's classifier."""

from pathlib import Path

import numpy as np
import torch
from cache import BATCH, View, cache_file, read_records
from depthwise import FixedDepthwise
from forward import SCALE
from tokenizers import Tokenizer

from pnp_ovss.vlms.encoders.efficientnet import imagenet_classifier, load_trunk
from pnp_ovss.vlms.encoders.pocket_model import PocketConfig, PocketModel, make_tokenizer, weights_folder

RIDGE = 30.0
THAWED = 6
PLAIN, MIRRORED = View(320), View(384, mirrored=True)
"""The two views of every photo whose features are kept."""


@torch.inference_mode()
def imagenet_probs(work: Path) -> np.ndarray:
    """ImageNet class probabilities (photos, 1000) of the untouched trunk, cached."""
    path = work / "imagenet.npy"
    if not path.exists():
        features, (weight, bias) = np.load(cache_file(work, PLAIN), mmap_mode="r"), imagenet_classifier()
        trunk, found = load_trunk().bfloat16().to(memory_format=torch.channels_last), []
        for first in range(0, len(features), BATCH):
            part = torch.from_numpy(np.array(features[first : first + BATCH])).bfloat16().permute(0, 3, 1, 2)
            found.append((trunk.top(part).float().mean((2, 3)) @ weight.T + bias).softmax(-1))
        np.save(path, torch.cat(found).numpy())
    return np.load(path)


def blank_model() -> tuple[PocketModel, Tokenizer]:
    """A model around the package's vocabulary, with the trunk's ImageNet weights, ready to learn or to take over weights."""
    vocabulary = weights_folder() / "pocket-vocab.txt"
    tokenizer = make_tokenizer(vocabulary)
    model = PocketModel(PocketConfig(vocabulary=tokenizer.get_vocab_size()), load_trunk())
    for block in model.image_encoder.trunk.blocks[-THAWED:]:
        block.depthwise = FixedDepthwise(block.depthwise)
    model.image_encoder.trunk.to(memory_format=torch.channels_last)
    model.text_encoder.embeddings.word_embeddings.weight.requires_grad_(False)
    return model.train(), tokenizer


def new_model(data: Path) -> tuple[PocketModel, Tokenizer]:
    """An untrained model around the vocabulary of the package (made if missing), aligned with the ImageNet classifier."""
    from vocabulary import all_texts, choose_pieces, embed_pieces  # transformers: slow to import, needed once

    vocabulary = weights_folder() / "pocket-vocab.txt"
    imagenet = (data / "imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
    if not vocabulary.exists():
        texts = all_texts(read_records(data), imagenet, weights_folder().parent / "datasets" / "vocabularies")
        vocabulary.write_text("\n".join(choose_pieces(texts)) + "\n", encoding="utf-8")
    model, tokenizer = blank_model()
    pieces = vocabulary.read_text(encoding="utf-8").splitlines()
    with torch.no_grad():
        _start_text(model, embed_pieces(pieces, model.config.width))
        _align(model, tokenizer, imagenet)
    return model, tokenizer


def _start_text(model: PocketModel, embeddings: torch.Tensor) -> None:
    """MiniLM's words; small positions; a first layer whose queries and keys are plain inner products."""
    words = model.text_encoder.embeddings
    words.word_embeddings.weight.copy_(embeddings)
    words.word_embeddings.weight[1].normal_()
    words.position_embeddings.weight.zero_()
    words.position_embeddings.weight[:5].normal_(std=0.1)
    own = model.text_encoder.encoder.layer[0].crossattention.self
    own.query.weight.copy_(torch.eye(len(own.query.weight)) / SCALE)
    own.key.weight.copy_(torch.eye(len(own.key.weight)))


def _align(model: PocketModel, tokenizer: Tokenizer, names: list[str]) -> None:
    """Ridge regression: projected features whose inner product with a class's name is the classifier's evidence for it."""
    table = model.text_encoder.embeddings.word_embeddings.weight
    ids = [tokenizer.encode(name, add_special_tokens=False).ids for name in names]
    words = torch.stack([torch.nn.functional.layer_norm(table[i].mean(0), table.shape[1:]) for i in ids])
    weight, _ = imagenet_classifier()
    weight = weight - weight.mean(0)
    gram = words.T @ words + RIDGE * torch.eye(words.shape[1])
    projection = torch.linalg.solve(gram, words.T @ weight)
    model.image_encoder.project_top.weight.copy_(4 * projection)
    model.image_encoder.project_top.bias.zero_()
    model.image_encoder.project_middle.weight.mul_(0.1)
