"""`models check`: the known answer, and what only it can find."""

import dataclasses

import numpy as np
import pytest
import torch

from pnp_ovss import model_check
from pnp_ovss.errors import ModelError
from pnp_ovss.images import read_image
from pnp_ovss.model_check import PHOTO, WORDS, check_model, check_tokens
from pnp_ovss.presets import get_preset
from pnp_ovss.prompt import Tokens
from pnp_ovss.testing.fake_vlm import FakeVLM
from pnp_ovss.testing.small_models import randomise, small_blip
from pnp_ovss.vlms.checkpoints.loading import load_vlm

POCKET = get_preset("pocket")
PICTURE = (np.eye(40, dtype=np.uint8) * 255)[..., None].repeat(3, 2)
TEMPLATE = "A picture of {classes}"


@pytest.fixture
def changed(monkeypatch):
    """changed(f): the built-in model is loaded with f(model) done to it."""

    def install(change):
        def load(preset, **options):
            vlm = load_vlm(preset, **options)
            with torch.no_grad():
                change(vlm.model)
            return vlm

        monkeypatch.setattr(model_check, "load_vlm", load)

    return install


def test_the_built_in_model_knows_the_answer():
    found = check_model(POCKET, device="cpu", size_px=224)

    assert found.match["person"] == max(found.match.values())
    assert len(found.match) == 11
    assert found.on_person is not None
    assert found.on_person > 0.9
    assert set(found.seconds) == {"load", "encode", "match", "attend"}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_weights_do_not(changed, seed):
    changed(lambda model: randomise(model, seed))

    with pytest.raises(ModelError, match="known answer wrong"):
        check_model(POCKET, device="cpu", size_px=224)


def test_a_map_beside_the_person_is_wrong(changed, monkeypatch):
    """The match is right, and the photo's outline is elsewhere."""
    monkeypatch.setattr(model_check, "OUTLINE", ((0, 0), (90, 0), (90, 60), (0, 60)))

    with pytest.raises(ModelError, match=r"of the hottest part of the map of 'person' lies on the person"):
        check_model(POCKET, device="cpu", size_px=224)


def test_a_head_that_hears_no_word_is_found(changed):
    changed(lambda model: model.itm_head.weight.zero_())

    with pytest.raises(ModelError, match="does not depend on the word"):
        check_model(POCKET, device="cpu", size_px=224)


def test_the_photo_is_small_and_there():
    assert read_image(PHOTO).shape == (320, 320, 3)
    assert PHOTO.stat().st_size < 60_000


def test_a_photo_of_ones_own_has_no_known_answer():
    photo = np.zeros((40, 50, 3), np.uint8)
    photo[10:30, 10:30] = 255

    assert check_model(POCKET, device="cpu", size_px=64, photo=photo, names=["cat", "dog"]).on_person is None


class Texts(FakeVLM):
    """Tokenizes as told."""

    def __init__(self, change):
        super().__init__()
        self.change = change
        self.tokenizer = self
        self.unknown = 7

    def tokenize(self, text):
        return self.change(text, super().tokenize(text))


def ends(text, tokens):
    return Tokens(tokens.ids[1:-1], tokens.offsets[1:-1])


def unknown_upper(text, tokens):
    return dataclasses.replace(tokens, ids=(0, 7, *tokens.ids[2:])) if text.isupper() else shifted(text, tokens)


def shifted(text, tokens):
    return dataclasses.replace(tokens, ids=(0, *(i + 10 for i in tokens.ids[1:-1]), 1))


def test_first_and_last_token_and_unknown_words():
    check_tokens(Texts(shifted), TEMPLATE)
    with pytest.raises(ModelError, match="the first token of a text is a word"):
        check_tokens(Texts(ends), TEMPLATE)
    with pytest.raises(ModelError, match="the last token of a text is a word"):
        check_tokens(Texts(lambda text, tokens: Tokens(tokens.ids[:-1], tokens.offsets[:-1])), TEMPLATE)
    with pytest.raises(ModelError, match=r"'A PICTURE OF CAT' has words that its vocabulary does not know"):
        check_tokens(Texts(unknown_upper), TEMPLATE)


@pytest.fixture
def small(tmp_path, vocabulary):
    """small(pieces): the check of a small random BLIP whose vocab.txt has these pieces; None = its own."""

    def check(pieces=None, *, layers=""):
        folder = tmp_path / "blip"
        small_blip().save_pretrained(folder)
        kept = [piece for piece in vocabulary.read_text("utf-8").splitlines() if pieces is None or pieces(piece)]
        (folder / "vocab.txt").write_text("\n".join(kept) + "\n", "utf-8")
        stated = f'layers = "{layers}"\n' if layers else ""
        (folder / "preset.toml").write_text(f'[model]\nfamily = "blip"\n{stated}[settings]\nlayer = 2\nhead = 1\n')
        return check_model(get_preset(folder), device="cpu", size_px=32, photo=PICTURE, names=WORDS)

    return check


def test_a_small_random_model_with_its_own_vocabulary_passes(small):
    assert small(layers="1-3").layers == (1, 2, 3)


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        (lambda piece: len(piece) < 4 or piece.startswith("["), "'sofa' falls into letters"),
        (
            lambda piece: piece not in ("picture", "p", "##p"),
            "'A picture of cat' has words that its vocabulary does not know",
        ),
        (lambda piece: piece != "[CLS]", "cls_token not found in the vocabulary"),
    ],
)
def test_a_vocabulary_that_lacks_what_the_model_was_trained_with(small, pieces, message):
    with pytest.raises(ModelError, match=message):
        small(pieces)


def test_other_layers_than_the_preset_states(small):
    with pytest.raises(ModelError, match=r"has cross-attention in layers \(1, 2, 3\), the preset says 1-4"):
        small(layers="1-4")
