"""`models check`: the known answer, and what only it can find."""

import dataclasses

import numpy as np
import pytest
import torch

from pnp_ovss import model_check
from pnp_ovss.errors import ModelError
from pnp_ovss.images import read_image
from pnp_ovss.model_check import PHOTO, check_model, check_tokens
from pnp_ovss.presets import get_preset
from pnp_ovss.prompt import Tokens
from pnp_ovss.testing.fake_vlm import FakeVLM
from pnp_ovss.testing.small_models import randomise
from pnp_ovss.vlms.checkpoints.loading import load_vlm

POCKET = get_preset("pocket")
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
    with pytest.raises(ModelError, match=r"'A PICTURE OF CAT' has words that its vocabulary does not know"):
        check_tokens(Texts(unknown_upper), TEMPLATE)
