"""Words that the pocket model never learned are read as the nearest that it did."""

import pytest
import torch

from pnp_ovss.presets import get_preset
from pnp_ovss.prompt import build_prompt
from pnp_ovss.vlms.encoders.lexicon import Lexicon, LexiconTokenizer
from pnp_ovss.vlms.encoders.pocket_model import load_pocket, make_tokenizer, weights_folder
from pnp_ovss.vlms.pocket import load_pocket_vlm


@pytest.fixture
def lexicon(tmp_path):
    (tmp_path / "words.txt").write_text("bus: charabanc lorry\ndog: mutt pooch whippet\nbox: hutch\n")
    return Lexicon(tmp_path / "words.txt")


@pytest.fixture(scope="module")
def pieces():
    return make_tokenizer(weights_folder() / "pocket-vocab.txt")


@pytest.fixture(scope="module")
def pocket():
    return load_pocket_vlm(get_preset("pocket"), None)


@pytest.mark.parametrize(
    ("word", "known"),
    [
        ("pooch", "dog"), ("Mutt", "dog"), ("whippet", "dog"), ("charabanc", "bus"),
        ("whippets", "dog"), ("hutches", "box"), ("lorries", "bus"),
    ],
)  # fmt: skip
def test_words_and_their_plurals_are_read_as_known_ones(lexicon, word, known):
    assert lexicon[word] == known


@pytest.mark.parametrize("word", ["dog", "bus", "whip", "pet", "oochs", "dog:", "lorr", "", "s", "theodolite"])
def test_other_words_and_parts_of_words_are_not_in_it(lexicon, word):
    assert lexicon[word] is None


def test_what_a_word_is_read_as_is_said_once(lexicon, caplog):
    for word in ("whippets", "dog", "whippets", "theodolite"):
        lexicon[word]
    assert [record.getMessage() for record in caplog.records] == [
        "'whippets' is read as 'dog', the nearest word that the model learned"
    ]


def test_the_file_is_read_with_the_first_word_and_may_be_missing(tmp_path):
    path = tmp_path / "words.txt"
    late = Lexicon(path)
    path.write_text("dog: mutt\n")
    assert late["mutt"] == "dog"
    assert Lexicon(tmp_path / "none.txt")["mutt"] is None


def test_a_word_of_it_is_one_token_with_its_own_characters(lexicon, pieces):
    tokens = LexiconTokenizer(pieces, lexicon)("A picture of two Mutts, charabanc")
    plain = LexiconTokenizer(pieces, Lexicon(lexicon.path.with_name("none.txt")))("a picture of two dog, bus")
    assert tokens.ids == plain.ids
    assert tokens.offsets[5] == (17, 22)
    assert tokens.offsets[7] == (24, 33)
    assert tokens.offsets[0] == tokens.offsets[-1] == (0, 0)


def test_texts_without_such_words_are_read_as_before(lexicon, pieces):
    text = "a picture of zyzzyva skateboarder, naïve x-ray"
    encoded = pieces.encode(text)
    tokens = LexiconTokenizer(pieces, lexicon)(text)
    assert (tokens.ids, tokens.offsets) == (tuple(encoded.ids), tuple(encoded.offsets))


def test_what_a_text_is_read_as_can_be_told(lexicon, pieces):
    assert LexiconTokenizer(pieces, lexicon).read("old Pooch, two lorries") == "old dog, two bus"


def test_the_built_in_list_names_each_word_once_and_known_words_are_single_pieces(pieces):
    lines = (weights_folder() / "pocket-words.txt").read_text(encoding="utf-8").splitlines()
    known = [line.partition(": ")[0] for line in lines]
    words = [word for line in lines for word in line.partition(": ")[2].split(" ")]
    assert len(words) == len(set(words)) > 4000
    assert not set(words) & set(known)
    assert not set(words) & {"harlot", "pickaninny", "shiksa", "bimbo"}  # WordNet has them; insults are left out
    assert all(len(pieces.encode(word, add_special_tokens=False).ids) == 1 for word in known)


@pytest.mark.parametrize(
    ("word", "known"),
    [("heifer", "cow"), ("canine", "dog"), ("stallion", "horse"), ("divan", "sofa"), ("motorcoach", "bus")],
)
def test_the_built_in_model_reads_unseen_words(pocket, word, known):
    assert pocket.tokenizer.lexicon[word] == known


def test_classes_asked_by_an_unseen_word_are_matched_as_by_the_known_one(pocket):
    features = pocket.encode(torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)))
    prompts = [build_prompt([name], "a picture of {classes}", pocket.tokenize) for name in ("dog", "mutts", "cat")]
    dog, mutt, cat = pocket.match(features, prompts)
    torch.testing.assert_close(dog, mutt)
    assert not torch.allclose(dog, cat)


def test_a_retrained_model_may_do_without_the_list(tmp_path):
    for name in ("pocket.safetensors", "pocket-vocab.txt"):
        (tmp_path / name).symlink_to(weights_folder() / name)
    vlm = load_pocket_vlm(get_preset("pocket"), tmp_path)
    assert vlm.tokenize("mutt").ids == tuple(load_pocket()[1].encode("mutt").ids)
