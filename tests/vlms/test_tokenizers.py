"""Tokenizers without a hub: offsets, special tokens, and that different names get different ids."""

import json

import pytest
from tokenizers import Tokenizer

from pnp_ovss.errors import ClassNameError, ModelError
from pnp_ovss.prompt import build_prompt
from pnp_ovss.vlms.encoders.bpe import BpeTokenizer
from pnp_ovss.vlms.encoders.wordpiece import WordPieceTokenizer, pad_prompts

TEXT = "A picture of potted plant, naïve café 猫 T-shirt"


@pytest.fixture(params=["wordpiece", "bpe", "bpe.json", "wordpiece.json"])
def tokenizer(request, vocabulary, bpe_folder, tmp_path):
    made = (
        BpeTokenizer.from_folder(bpe_folder)
        if request.param.startswith("bpe")
        else WordPieceTokenizer.from_folder(vocabulary.parent)
    )
    if request.param.endswith("json"):
        stored: Tokenizer = made._tokenizer
        stored.enable_truncation(4)  # as hub files have it: it must not cut prompts
        stored.save(str(tmp_path / "tokenizer.json"))
        made = type(made).from_folder(tmp_path)
    return made


def test_offsets_are_characters_of_the_text(tokenizer):
    tokens = tokenizer(TEXT)

    assert len(tokens.ids) == len(tokens.offsets)
    assert tokens.offsets[0] == tokens.offsets[-1] == (0, 0)
    inner = [o for o in tokens.offsets if o != (0, 0)]
    assert inner == sorted(inner)
    assert max(end for _, end in inner) <= len(TEXT)


def test_spans_of_names_cover_them(tokenizer):
    prompt = build_prompt(["potted plant", "sofa", "cat"], "A picture of {classes}", tokenizer)
    offsets = tokenizer(prompt.text).offsets

    for name, span in zip(prompt.class_names, prompt.spans, strict=True):
        covered = prompt.text[offsets[span[0]][0] : offsets[span[-1]][1]]
        assert covered.strip() == name
    ids = {tuple(prompt.token_ids[i] for i in span) for span in prompt.spans}
    assert len(ids) == 3


def test_a_word_is_the_same_wherever_it_stands(tokenizer):
    """RoBERTa's tokens carry the space before a word: "cat" after another word is always the same token."""
    first = build_prompt(["cat", "dog"], "A picture of {classes}", tokenizer)
    second = build_prompt(["dog", "cat"], "A picture of {classes}", tokenizer)

    def ids(prompt, k):
        return [prompt.token_ids[i] for i in prompt.spans[k]]

    assert ids(first, 0) == ids(second, 1)
    assert ids(first, 1) == ids(second, 0)


def test_folders_without_files(tmp_path):
    for kind in (BpeTokenizer, WordPieceTokenizer):
        with pytest.raises(ModelError, match=r"neither tokenizer\.json"):
            kind.from_folder(tmp_path)


def test_a_wordpiece_file_is_not_robertas(vocabulary, tmp_path):
    WordPieceTokenizer.from_folder(vocabulary.parent)._tokenizer.save(str(tmp_path / "tokenizer.json"))

    with pytest.raises(ModelError, match="lacks a piece of <pad>, <s>"):
        BpeTokenizer.from_folder(tmp_path)


def test_padding():
    ids, mask = pad_prompts([[5, 6, 7], [8]], 1)

    assert ids.tolist() == [[5, 6, 7], [8, 1, 1]]
    assert mask.tolist() == [[True, True, True], [True, False, False]]


def test_a_name_longer_than_the_model_reads(tokenizer):
    from pnp_ovss.prompt import build_prompts

    with pytest.raises(ClassNameError, match="this model reads 8"):
        build_prompts(["quartz vase zebra lazy dog brown fox wax"], "{classes}", tokenizer, 8)


@pytest.mark.parametrize("kind", [WordPieceTokenizer, BpeTokenizer])
def test_a_tokenizer_json_without_special_tokens_or_lower_casing_is_repaired(kind, vocabulary, bpe_folder, tmp_path):
    """Without a post-processor [ENC] would overwrite the first word; without lower-casing "Cat" is [UNK]."""
    folder = vocabulary.parent if kind is WordPieceTokenizer else bpe_folder
    whole = kind.from_folder(folder)
    stored = json.loads(whole._tokenizer.to_str())
    stored["post_processor"] = None
    stored["normalizer"] = None
    (tmp_path / "tokenizer.json").write_text(json.dumps(stored))

    repaired = kind.from_folder(tmp_path)

    assert repaired("a picture of cat").ids == whole("a picture of cat").ids
    if kind is WordPieceTokenizer:
        assert repaired("A Picture of CAT").ids == whole("a picture of cat").ids


def test_a_tokenizer_json_of_another_kind_is_refused(bpe_folder, vocabulary, tmp_path):
    BpeTokenizer.from_folder(bpe_folder)._tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelError, match=r"no pieces \[CLS\] and \[SEP\]"):
        WordPieceTokenizer.from_folder(tmp_path)
    WordPieceTokenizer.from_folder(vocabulary.parent)._tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelError, match="not RoBERTa's"):
        BpeTokenizer.from_folder(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    for kind in (BpeTokenizer, WordPieceTokenizer):
        with pytest.raises(ModelError, match="is no tokenizer"):
            kind.from_folder(tmp_path)
