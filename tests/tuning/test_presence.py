"""The rule of the policy `itm`, searched on tags."""

import json
import tomllib

import numpy as np
import pytest
import torch
from PIL import Image

from pnp_ovss import Segmenter
from pnp_ovss.errors import ConfigError
from pnp_ovss.evaluation.presence import Presence, presence
from pnp_ovss.policies import KeepRule
from pnp_ovss.presence import NameBank
from pnp_ovss.presence import Presence as CalibratedPresence
from pnp_ovss.presets import get_preset
from pnp_ovss.testing.fake_vlm import FAKE_PRESET, FakeVLM
from pnp_ovss.tuning.presence import RULES, best_f1, choose_rule, fit_presence, other_shares, search_rules
from pnp_ovss.tuning.tags import tagged_files
from tests.commands import caller
from tests.scenes import BLUE, GREY, RED, two_squares
from tests.segmented import CONFIG


def tagged_scores(seed=0, images=120, classes=10):
    """Scores that a threshold of one half separates but for some noise."""
    generator = np.random.default_rng(seed)
    tags = generator.random((images, classes)) < 0.15
    scores = np.clip(np.where(tags, 0.75, 0.25) + generator.normal(0, 0.15, tags.shape), 0, 1)
    return scores, tags


def rate(rule, scores, tags):
    """Oracle: the rule called for every image."""
    total = Presence()
    for row, there in zip(scores, tags, strict=True):
        total += presence(np.flatnonzero(there), rule(row.tolist()))
    return total


def test_the_best_of_each_family_against_the_rules_one_by_one():
    scores, tags = tagged_scores(images=30)
    results = search_rules(scores, tags)
    assert [result.family for result in results] == list(RULES)
    for result in results:
        rated = [rate(rule, scores, tags).micro_f1 for rule in RULES[result.family]]
        assert result.presence == rate(result.rule, scores, tags)
        assert result.presence.micro_f1 == max(rated)


def test_a_plain_threshold_is_kept_unless_something_is_really_better():
    results = search_rules(*tagged_scores())
    assert results[0].gain.value == 0
    chosen = choose_rule(results)
    assert chosen.family == "threshold"
    assert 0.4 <= chosen.rule.threshold <= 0.6


def test_a_relative_rule_is_chosen_where_images_differ_in_their_level():
    scores, tags = tagged_scores()
    tags[:, 0] |= ~tags.any(axis=1)  # every image has a class, or no share of the best could be right
    scores = np.where(tags, 0.9, 0.2) * np.random.default_rng(1).uniform(0.1, 1, size=(len(scores), 1))
    chosen = choose_rule(search_rules(scores, tags))
    assert "relative" in chosen.family
    assert chosen.presence.micro_f1 == 1
    assert chosen.gain.low > 0


def test_the_rules_are_those_of_the_policy():
    assert RULES["top_k"][0] == KeepRule(0.0, top_k=1)
    assert len(RULES["threshold"]) == 49


def only(colour):
    """A grey photo with one square of the colour."""
    image = np.full((96, 96, 3), GREY, np.uint8)
    image[24:72, 24:72] = colour
    return image


@pytest.fixture
def photos(tmp_path):
    pictures = {"red": only(RED), "blue": only(BLUE), "both": two_squares(96, 96)}
    for name, picture in pictures.items():
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    (tmp_path / "tags.json").write_text('{"red": ["red"], "blue": ["blue"], "both": ["red", "blue"]}')
    return tmp_path


def test_any_model_is_fitted_to_tags(photos):
    """The fake model's match of what is there lies above that of what is not, so a threshold between them is right."""
    segmenter = Segmenter(FakeVLM(), CONFIG)
    images = tagged_files([photos], json.loads((photos / "tags.json").read_text()))
    fitted = fit_presence(segmenter, images)
    scores = {(i.path.stem, n): segmenter.presence(segmenter.prepare(i.path, [n]).features, [n])[0]
              for i in images for n in fitted.names}  # fmt: skip
    absent = max(scores["red", "blue"], scores["blue", "red"])
    there = min(scores["red", "red"], scores["blue", "blue"], scores["both", "red"], scores["both", "blue"])
    assert (fitted.images, fitted.tags, set(fitted.names), fitted.by_share) == (3, 4, {"red", "blue"}, {})
    assert absent < fitted.settings["match_threshold"] <= there
    assert fitted.chosen.presence == Presence(4, 0, 0)


def test_one_name_cannot_be_absent(photos):
    images = tagged_files([photos / "red.png"], {"red": ["red"]})
    with pytest.raises(ConfigError, match=r"tagged with 1 name: a threshold needs"):
        fit_presence(Segmenter(FakeVLM(), CONFIG), images)


class Levels(FakeVLM):
    """A bank's photo says one number; "wall" gets 8 more than "zebra" wherever it is matched."""

    def match(self, image, prompts):
        offset = torch.tensor([8.0 if prompt.class_names[0] == "wall" else 0.0 for prompt in prompts])
        return torch.stack([torch.zeros(len(prompts)), image.tokens.float().mean() + offset], dim=1)


def test_the_shares_of_the_median_by_hand(photos):
    """A wall on bright photos and a zebra on dark ones: with nothing or a quarter taken off, the wall is found too often."""
    bank = NameBank(torch.zeros(5, 1, 1, 1), "fake", "w", tuple("abcde"), 0.5, 0.0)  # medians: wall 8, zebra 0
    segmenter = Segmenter(Levels(), CONFIG)
    segmenter.presence = CalibratedPresence(segmenter.vlm, CONFIG.template, bank)
    logits = np.array([[6.0, 1.0], [2.0, -4.0]])
    moved = dict(other_shares(segmenter, ("wall", "zebra"), 1 / (1 + np.exp(-logits))))
    assert moved[0.0] == pytest.approx(logits + np.array([2, 0]))
    assert moved[0.25] == pytest.approx(logits)
    assert moved[1.0] == pytest.approx(logits - np.array([6, 0]))
    tags = np.array([[True, True], [False, False]])
    assert [best_f1(moved[share], tags) for share in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([0.8, 0.8, 1.0, 1.0])


def test_the_command_writes_a_preset_that_keeps_the_model(photos, monkeypatch, capsys):
    call, out = caller(monkeypatch, capsys), photos / "fitted.toml"
    code, text, _ = call("tune", photos, "--tags", photos / "tags.json", "--presence", "--set", "drops=1", "--out", out)
    assert code == 0
    assert "chosen: match_threshold = " in text
    preset, fake = get_preset(out), get_preset(FAKE_PRESET)
    assert preset.family == "fake"
    kept = {name: value for name, value in fake.settings.items() if not name.startswith("match_")}
    assert {**kept, "drops": 1}.items() <= preset.settings.items()
    evidence = tomllib.loads(out.read_text())["evidence"]
    assert (evidence["images"], evidence["tags"], evidence["rules"][0]["f1"]) == (3, 4, 1.0)
    assert "match_threshold fitted to image-level tags: micro-F1 1.000 on 3 images, 2 names" in preset.source
    code, text, _ = call(
        "segment", photos / "red.png", "--classes", "red, blue", "--model", out, "--out", photos / "out"
    )
    assert code == 0
    assert f"< {preset.settings['match_threshold']:g}" in text
