"""Presence: calibrated by photos that nobody labelled, and what it does to who wins."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pnp_ovss import Segmenter
from pnp_ovss.calibration import calibrate, draw_photos, reference_names
from pnp_ovss.competition import given_weights, presence_weights
from pnp_ovss.errors import ConfigError, OutputError
from pnp_ovss.presence import PATCHES, NameBank, Presence, bank_margins, shift_of
from pnp_ovss.presets import get_preset, remark_on_threshold
from pnp_ovss.testing.fake_vlm import FAKE_PRESET, FakeVLM
from pnp_ovss.vlms.base import ImageFeatures, rounded_half
from tests.scenes import two_squares
from tests.segmented import CONFIG

OFFSETS = {"wall": 4.0, "zebra": 0.0}


class Numbers(FakeVLM):
    """Each photo's token says one logit; a name adds its own offset: what calibration has to take off, and know."""

    def match(self, image, prompts):
        margins = torch.stack([image.tokens.flatten()[0] + OFFSETS[p.class_names[0]] for p in prompts])
        return torch.stack([torch.zeros(len(prompts)), margins], dim=1)


class Together(Numbers):
    """The same, with many photos at once; one after the other it would be found out."""

    def match_photos(self, tokens, prompts):
        margins = tokens.flatten(1)[:, :1] + torch.tensor([OFFSETS[p.class_names[0]] for p in prompts])
        return torch.stack([torch.zeros_like(margins), margins], dim=2)

    def match(self, image, prompts):
        raise AssertionError("photos of a bank are matched at once where the adapter can")


def features(value):
    return ImageFeatures(torch.full((1, 1, 1), float(value)), (1, 1))


@pytest.fixture
def bank():
    tokens = torch.tensor([-6.0, -4.0, -2.0, 0.0, 2.0]).reshape(5, 1, 1, 1)  # medians: wall 0, zebra -4
    return NameBank(tokens, "fake", "w", tuple("abcde"), match_threshold=0.5, shift=1.0)


def test_a_quarter_of_the_median_is_taken_off_by_hand(bank):
    wall, zebra = Presence(Numbers(), CONFIG.template, bank)(features(1), ["wall", "zebra"])
    # wall: 1 + 4 = 5, median -2 + 4 = 2, so 5 - 0.5 - shift 1 = 3.5; zebra: 1, median -2, so 1 + 0.5 - 1 = 0.5
    assert wall == pytest.approx(1 / (1 + math.exp(-3.5)), abs=1e-4)
    assert zebra == pytest.approx(1 / (1 + math.exp(-0.5)), abs=1e-4)


@pytest.mark.parametrize("vlm", [Numbers(), Together()])
def test_margins_are_photos_by_names(bank, vlm):
    margins = bank_margins(vlm, bank, ["wall", "zebra"], "A picture of {classes}")
    np.testing.assert_allclose(margins, [[-2, -6], [0, -4], [2, -2], [4, 0], [6, 2]], atol=1e-4)


def test_without_a_bank_it_is_the_models_own_probability():
    presence = Presence(Numbers(), CONFIG.template)
    assert presence(features(1), ["wall"]) == pytest.approx([1 / (1 + math.exp(-5))], abs=1e-4)


def test_a_name_is_matched_with_the_bank_once(bank):
    calls = []

    class Counting(Numbers):
        def match(self, image, prompts):
            calls.append([p.class_names[0] for p in prompts])
            return super().match(image, prompts)

    presence = Presence(Counting(), CONFIG.template, bank)
    for _ in range(3):
        presence(features(0), ["wall", "zebra"])
    assert len(calls) == 3 + 5
    presence(features(0), ["zebra", "wall"])
    assert len(calls) == 9


def test_the_threshold_keeps_its_meaning(bank):
    """A class at the shift has exactly the probability that the bank's threshold is."""
    for threshold in (0.5, 0.85):
        moved = NameBank(bank.tokens, "fake", "w", bank.photos, threshold, shift=1.0)
        (found,) = Presence(Numbers(), CONFIG.template, moved)(features(0.5), ["zebra"])  # 0.5 + 0.5 = shift
        assert found == pytest.approx(threshold, abs=1e-4)


def test_the_shift_finds_as_many_on_the_bank_as_the_plain_threshold():
    generator = np.random.default_rng(0)
    margins = generator.normal(size=(40, 12)) * 3 + generator.normal(size=12) * 4
    for threshold in (0.5, 0.85, 0.99):
        plain = int((margins >= math.log(threshold / (1 - threshold))).sum())
        centred = margins - np.median(margins, axis=0) / 4
        assert int((centred >= shift_of(margins, threshold)).sum()) == plain


def test_weights_by_hand():
    assert presence_weights([0.5, 0.9, 0.1], 0.5) == pytest.approx([0.5, 0.9, 0.1])
    assert presence_weights([0.9], 0.9) == [0.5]
    assert presence_weights([0.0, 1.0], 0.9) == [0.0, 1.0]
    assert presence_weights([0.2, 0.7], 0.0) == [1.0, 1.0]


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(1)
    for number in range(10):
        photo = generator.integers(0, 255, (12, 12, 3)).astype(np.uint8)
        Image.fromarray(photo).resize((96, 96), Image.Resampling.NEAREST).save(tmp_path / f"{number}.png")
    (tmp_path / "no photo.png").write_bytes(b"nothing")
    return tmp_path


def test_a_bank_of_a_folder_is_resumed_and_read_back(folder, tmp_path):
    segmenter, out = Segmenter(FakeVLM(), CONFIG), tmp_path / "deep" / "bank.safetensors"
    photos = draw_photos(list(folder.glob("*.png")), 100, seed=0)
    bank = calibrate(segmenter, photos, out)
    assert len(bank) == 10
    assert bank.tokens.shape == (10, 1, PATCHES, 3)
    assert torch.equal(rounded_half(bank.tokens, 5), bank.tokens)
    again = NameBank.load(out)
    assert (again.photos, again.shift, again.weights) == (bank.photos, bank.shift, segmenter.weights)
    assert torch.equal(again.tokens, bank.tokens)

    def stop_after(count):
        def track(paths):
            for number, path in enumerate(paths):
                if number == count:
                    raise KeyboardInterrupt
                yield path

        return track

    part = tmp_path / "part.safetensors"
    with pytest.raises(KeyboardInterrupt):
        calibrate(segmenter, photos, part, track=stop_after(9))
    assert len(NameBank.load(part)) >= 7
    with pytest.raises(ConfigError, match=r"not finished: it has \d photos; run the same `pnp-ovss calibrate` again"):
        Segmenter(FakeVLM(), CONFIG.replace(bank=str(part)))
    before = segmenter.vlm.encoded
    whole = calibrate(segmenter, photos, part)
    assert segmenter.vlm.encoded - before <= 3
    assert (whole.photos, whole.shift) == (bank.photos, bank.shift)


def test_a_bank_is_of_the_photos_that_were_asked_for(folder, tmp_path):
    """Those of an earlier call with the same --out are looked at no more, and the others leave."""
    segmenter, out = Segmenter(FakeVLM(), CONFIG), tmp_path / "bank.safetensors"
    photos = sorted(folder.glob("[0-9].png"))
    calibrate(segmenter, photos, out)
    before = segmenter.vlm.encoded

    bank = calibrate(segmenter, photos[1:], out)

    assert segmenter.vlm.encoded == before
    assert len(NameBank.load(out)) == len(bank) == 9
    assert bank.photos == calibrate(segmenter, photos[1:], tmp_path / "new.safetensors").photos


def test_an_input_size_that_the_model_has_not_is_refused_before_any_photo(folder, tmp_path):
    with pytest.raises(ConfigError, match="size 100 is not a multiple of 8; use 96 or 104"):
        calibrate(Segmenter(FakeVLM(), CONFIG.replace(size_px=100)), [], tmp_path / "bank.safetensors")


def test_banks_that_do_not_fit_are_refused(folder, tmp_path):
    segmenter, out = Segmenter(FakeVLM(), CONFIG), tmp_path / "bank.safetensors"
    photos = sorted(folder.glob("*.png"))
    calibrate(segmenter, photos, out)
    assert Segmenter(FakeVLM(), CONFIG.replace(bank=str(out))).presence.bank.shift == NameBank.load(out).shift
    other = FakeVLM()
    other.model.weight.data += 1
    with pytest.raises(ConfigError, match="was made with weights"):
        Segmenter(other, CONFIG.replace(bank=str(out)))
    with pytest.raises(ConfigError, match="other weights"):
        calibrate(Segmenter(other, CONFIG), photos, out)
    with pytest.raises(ConfigError, match=r"is a bank of photos at 96 px, asked are 64 px; remove it or"):
        calibrate(segmenter.replace(size_px=64), photos, out)
    for name, content in [("none", None), ("text", b"no bank")]:
        path = Path(tmp_path / name)
        if content:
            path.write_bytes(content)
        with pytest.raises(ConfigError, match="pnp-ovss calibrate"):
            Segmenter(FakeVLM(), CONFIG.replace(bank=str(path)))
    for path in (tmp_path / "text", tmp_path):
        with pytest.raises(OutputError, match=r"is there and is no bank of names; choose another --out"):
            calibrate(segmenter, photos, path)
    with pytest.raises(ConfigError, match="at least 8"):
        calibrate(segmenter, photos[:3], tmp_path / "few.safetensors")


def test_replace_keeps_the_bank_and_what_it_knows(folder, tmp_path):
    out = tmp_path / "bank.safetensors"
    calibrate(Segmenter(FakeVLM(), CONFIG), sorted(folder.glob("*.png")), out)
    segmenter = Segmenter(FakeVLM(), CONFIG.replace(bank=str(out)))
    assert segmenter.replace(blur=0, match_threshold=0.3).presence is segmenter.presence
    assert segmenter.replace(bank="").presence.bank is None


def test_soft_presence_weighs_the_classes_that_a_policy_scored():
    config = CONFIG.replace(competition="equal_mass", threshold=0.25, policy="all", drops=0, normalise="global")
    soft = Segmenter(FakeVLM(), config.replace(soft_presence=True))
    result = soft(two_squares(), ["red", "blue", "green"])
    assert result.match_scores["red"] > 0.99 > 0.01 > result.match_scores["green"]
    hard = soft.replace(soft_presence=False)
    assert set(hard(two_squares(), ["red", "blue", "green"]).match_scores.values()) == {None}
    assert result.shares["green"] == 0


def test_soft_presence_weighs_names_that_the_caller_gave_and_takes_all_pixels_from_none():
    """By the fourth root of their odds; no score of theirs is told, since nothing was decided by it."""
    names = ["red", "blue", "green"]
    soft = Segmenter(FakeVLM(), CONFIG.replace(competition="equal_mass", threshold=0.25, drops=0, soft_presence=True))
    prepared = soft.prepare(two_squares(), [*names, "yellow"], keep=names)
    weights = prepared.weights(soft.config)
    assert weights == given_weights(soft.presence(prepared.features, names), soft.config.match_threshold)
    assert weights[0] > 0.9 > weights[2] >= 0.1
    assert prepared.matches[3] is None
    assert prepared.weights(soft.config.replace(soft_presence=False)) is None
    assert soft.prepare(two_squares(), names, keep=["red"]).matches == ()  # alone it wins anyway
    assert set(soft.label(soft.look(prepared)).match_scores.values()) == {None}
    total = torch.zeros(3, 4, 4)
    total[:, :, :3] = 1  # the same map, so that weights alone decide
    scores, rows = soft.compete(total, (32, 32), prepared)
    won = scores.argmax(dim=0).flatten().bincount(minlength=4)
    assert rows == (None, 0, 1, 2)
    assert won[1] > won[3] >= 64  # one patch of 16


def test_reference_names_are_many_and_each_once():
    names = reference_names()
    assert len(names) == len(set(names)) > 100


def test_a_threshold_that_was_never_fitted_is_said(caplog):
    """To a model whose preset has none, where policy itm decides by it; and not where it was set or does not decide."""
    fitted, bare = get_preset("pocket"), get_preset("blip-large-flickr")
    assert remark_on_threshold(fitted, None) == ""
    assert "match_threshold = 0.5, by which blip-large-flickr decides" in remark_on_threshold(bare, None)
    assert remark_on_threshold(bare, None, match_threshold=0.4) == ""
    assert remark_on_threshold(bare, None, policy="all") == ""
    assert remark_on_threshold(bare, "paper") == ""
    own = replace(get_preset(FAKE_PRESET), settings={"layer": 2, "head": 2, "size_px": 96})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("pnp_ovss.segmenter.get_preset", lambda model: own)
        Segmenter.from_pretrained("any")
    assert "was fitted to no photos" in caplog.text


def test_rounding_is_to_the_nearest_of_the_steps_that_are_left():
    values = torch.linspace(-9, 9, 1001)
    rounded = rounded_half(values, 5)
    assert rounded.dtype == torch.float16
    assert ((rounded.float() - values).abs() <= values.abs() / 64 + 1e-3).all()
    assert torch.equal(rounded_half(rounded, 5), rounded)
    assert [len(rounded_half(torch.linspace(1, 2, 5001), bits).unique()) for bits in (5, 9)] == [33, 513]


def test_the_built_in_bank_is_rounded():
    bank = NameBank.load("pocket")
    assert torch.equal(rounded_half(bank.tokens, 5), bank.tokens)


def test_known_medians_are_used_where_the_prompt_is_the_same(bank):
    known = replace(bank, medians={"wall": 4.0}, template=CONFIG.template)
    assert Presence(Numbers(), CONFIG.template, known).medians(["wall", "zebra"]) == {"wall": 4.0, "zebra": -2.0}
    assert Presence(Numbers(), "a {classes}", known).medians(["wall"]) == {"wall": 2.0}


def test_medians_travel_with_the_file(bank, tmp_path):
    replace(bank, medians={"wall": 2.0}, template="x {classes}").save(tmp_path / "b.safetensors")
    again = NameBank.load(tmp_path / "b.safetensors")
    assert (again.medians, again.template) == ({"wall": 2.0}, "x {classes}")
