"""Class names to prompts: validation, token spans, chunks."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from pnp_ovss.errors import ClassNameError
from pnp_ovss.prompt import Tokens, build_prompt, build_prompts
from pnp_ovss.vlms.encoders.wordpiece import WordPieceTokenizer

TEMPLATE = "A picture of {classes}"


@pytest.fixture(scope="module")
def wordpiece(tmp_path_factory):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "picture", "of", "cat", "dog", "potted", "plant"]
    words += ["pot", "##ted", "traffic", "light", "##s", "tv"]
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    path.write_text("\n".join(words))
    return WordPieceTokenizer.from_vocabulary(path, first_token=99), words


@pytest.fixture(scope="module")
def byte_bpe():
    """RoBERTa's kind of tokenizer: byte-level BPE, the leading space part of the token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=330, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(["a picture of cat dog potted plant"] * 3, trainer)

    def tokenize(text: str) -> Tokens:
        encoded = tokenizer.encode(text)
        return Tokens((0, *encoded.ids, 1), ((0, 0), *encoded.offsets, (0, 0)))

    return tokenize


def test_spans_are_the_tokens_of_each_name(wordpiece):
    tokenize, words = wordpiece
    prompt = build_prompt(["cat", "potted plant", "traffic lights"], TEMPLATE, tokenize)
    pieces = [[words[prompt.token_ids[i]] for i in span] for span in prompt.spans]
    assert pieces == [["cat"], ["potted", "plant"], ["traffic", "light", "##s"]]
    assert prompt.text == "A picture of cat potted plant traffic lights"
    assert prompt.token_ids[0] == 99
    assert words[prompt.token_ids[-1]] == "[SEP]"


def test_template_with_text_after_the_classes(wordpiece):
    tokenize, words = wordpiece
    prompt = build_prompt(["dog", "cat"], "a {classes} of a picture", tokenize)
    assert [[words[prompt.token_ids[i]] for i in span] for span in prompt.spans] == [["dog"], ["cat"]]


def test_two_names_get_two_ids(wordpiece):
    tokenize, _ = wordpiece
    one, two = (build_prompt([name], TEMPLATE, tokenize) for name in ("cat", "dog"))
    assert one.token_ids != two.token_ids


def test_byte_level_bpe_with_leading_spaces(byte_bpe):
    names = ["cat", "potted plant", "naïve 猫"]
    prompt = build_prompt(names, TEMPLATE, byte_bpe)
    assert sum(len(span) for span in prompt.spans) == len({i for span in prompt.spans for i in span})
    assert prompt.spans[-1][-1] == len(prompt.token_ids) - 2
    assert all(span for span in prompt.spans)


def test_unknown_script_keeps_its_own_token(wordpiece):
    tokenize, _ = wordpiece
    prompt = build_prompt(["猫", "cat"], TEMPLATE, tokenize)
    assert len(prompt.spans[0]) == 1
    assert prompt.spans[0] != prompt.spans[1]


def test_long_lists_are_chunked_never_cut(wordpiece):
    tokenize, _ = wordpiece
    names = [f"cat{'s' * (i % 6)}" for i in range(40)]
    prompts = build_prompts(names, TEMPLATE, tokenize, max_tokens=12)
    assert [name for prompt in prompts for name in prompt.class_names] == names
    assert all(len(prompt.token_ids) <= 12 for prompt in prompts)
    assert len(prompts) > 1
    again = build_prompts(names, TEMPLATE, tokenize, max_tokens=12)
    assert again == prompts


def test_a_chunk_takes_as_many_names_as_fit(wordpiece):
    tokenize, _ = wordpiece
    prompts = build_prompts(["cat", "dog"] * 10, TEMPLATE, tokenize, max_tokens=8)
    assert [len(p.class_names) for p in prompts] == [3] * 6 + [2]


def test_a_single_name_that_is_too_long_is_refused(wordpiece):
    tokenize, _ = wordpiece
    with pytest.raises(ClassNameError, match="this model reads 8"):
        build_prompts(["cat " * 20], TEMPLATE, tokenize, max_tokens=8)


def test_a_name_without_tokens_is_refused(wordpiece):
    tokenize, _ = wordpiece
    with pytest.raises(ClassNameError, match="no token"):
        build_prompt(["\u0301"], TEMPLATE, tokenize)


def test_prompts_of_long_lists_are_made_in_linear_time(wordpiece):
    """Characters that the tokenizer reads, not seconds: ten times the names, ten times the work."""
    tokenize, _ = wordpiece
    read = []

    def counted(text: str) -> Tokens:
        read.append(len(text))
        return tokenize(text)

    work = []
    for count in (300, 3000):
        read.clear()
        prompts = build_prompts(["cat", "potted plant", "dog"] * (count // 3), TEMPLATE, counted, max_tokens=35)
        assert sum(len(prompt.class_names) for prompt in prompts) == count
        work.append(sum(read))
    assert work[1] < 11 * work[0]
