"""Class policies: who competes."""

import json

import numpy as np
import pytest

from pnp_ovss.candidates import Candidates
from pnp_ovss.config import SegmenterConfig
from pnp_ovss.errors import ConfigError
from pnp_ovss.policies import (
    AllClasses,
    Choice,
    ClipPolicy,
    KeepRule,
    MatchPolicy,
    Request,
    best_class,
    get_policy,
    kept_indices,
)

CLASSES = (("cat",), ("sofa", "couch"), ("tv",))
SCORES = {"cat": 0.9, "sofa": 0.1, "couch": 0.6, "tv": 0.4}


def request():
    image = np.zeros((2, 2, 3), np.uint8)
    return Request(CLASSES, image, "photo.jpg", lambda names: [SCORES[n] for n in names])


def test_match_takes_a_classes_best_name():
    choice = MatchPolicy(KeepRule(0.5))(request())
    assert choice.kept == (0, 1)
    assert choice.scores == (0.9, 0.6, 0.4)


def test_the_threshold_is_reached_not_exceeded():
    assert MatchPolicy(KeepRule(0.6))(request()).kept == (0, 1)
    assert MatchPolicy(KeepRule(0.61))(request()).kept == (0,)


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        (KeepRule(0.0), (0, 1, 2, 3)),
        (KeepRule(0.3), (0, 2, 3)),
        (KeepRule(0.0, relative=0.8), (0, 3)),
        (KeepRule(0.85, relative=0.1), (3,)),
        (KeepRule(0.0, top_k=1), (3,)),
        (KeepRule(0.0, top_k=3), (0, 2, 3)),
        (KeepRule(0.95), ()),
    ],
)
def test_a_rule_keeps_what_meets_all_three_conditions(rule, kept):
    assert rule([0.8, 0.2, 0.4, 0.9]) == kept
    assert rule([]) == ()


def test_top_k_breaks_ties_by_order():
    assert KeepRule(0.0, top_k=2)([0.5, 0.5, 0.5]) == (0, 1)


class Likeness:
    """Stands for a CLIP: cosine / 0.01 of each name."""

    def score(self, images, class_names):
        assert images[0].shape == (2, 2, 3)
        return np.array([[10 * SCORES[name] for name in class_names]])


def test_clip_shares_the_probability_among_the_classes():
    choice = ClipPolicy(Likeness(), KeepRule(0.0, relative=0.04))(request())
    shares = np.exp([9.0, 6.0, 4.0]) / np.exp([9.0, 6.0, 4.0]).sum()  # sofa by its better name, couch
    assert choice.scores == pytest.approx(tuple(shares))
    assert choice.kept == (0, 1)
    assert ClipPolicy(Likeness())(request()).kept == (0,)


def test_clip_is_loaded_once_for_any_number_of_photos_and_settings(monkeypatch):
    from pnp_ovss import Segmenter, clip
    from pnp_ovss.testing.fake_vlm import FakeVLM

    loaded = []
    monkeypatch.setattr(
        clip.Clip, "from_pretrained", lambda model, device: loaded.append((model, device)) or Likeness()
    )
    config = SegmenterConfig(layer=2, head=2, policy="clip", clip_model="my/clip", match_top_k=2, match_threshold=0.0)
    segmenter = Segmenter(FakeVLM(), config)
    assert segmenter.policy(request()).kept == (0, 1)
    one = segmenter.replace(match_top_k=1, blur=0)
    assert one.policy(request()).kept == (0,)
    assert loaded == [("my/clip", "cpu")]


def test_all_asks_no_model():
    choice = AllClasses()(Request(CLASSES, np.zeros((1, 1, 3)), "", lambda names: pytest.fail("asked the model")))
    assert choice.kept == (0, 1, 2)
    assert choice.scores == (None, None, None)


@pytest.mark.parametrize("key", ["a/photo.jpg", "photo.jpg", "photo"])
def test_a_photo_is_listed_by_path_name_or_stem(key):
    assert Candidates({key: ["Couch", "zebra"]}).of("a/photo.jpg") == ["Couch", "zebra"]


def test_keys_with_an_ending_name_an_image_without_one():
    assert Candidates({"photo.jpg": ["sofa"], "other.jpg": []}).of("photo") == ["sofa"]
    with pytest.raises(ConfigError, match="both name the image 'photo'"):
        Candidates({"photo.jpg": ["sofa"], "photo.png": ["cat"]}).of("photo")  # which of the two?


def test_an_empty_list_is_an_answer_a_missing_one_is_not():
    assert Candidates({"photo": []}).of("photo.jpg") == []
    with pytest.raises(ConfigError, match="name no image"):
        Candidates({"other": []}).of("photo.jpg")


def test_kept_by_any_synonym_in_any_case_in_the_classes_order():
    assert kept_indices(CLASSES, ["TV", "Couch", "zebra"]) == (1, 2)
    assert kept_indices(CLASSES, iter(["TV", "Couch", "zebra"])) == (1, 2)


@pytest.mark.parametrize("keep", ["tv", 3, ["tv", 3], [("sofa", "couch")]])
def test_what_is_no_list_of_names_is_refused(keep):
    with pytest.raises(ConfigError, match="is no list of names"):
        kept_indices(CLASSES, keep)


@pytest.mark.parametrize("name", ["all", "itm", "file", "oracle"])
def test_the_policy_of_a_configuration(name):
    policy = get_policy(SegmenterConfig(policy=name, match_threshold=0.3, match_relative=0.2, match_top_k=4))
    assert policy.name == name
    if name == "itm":
        assert policy.rule == KeepRule(0.3, relative=0.2, top_k=4)


def test_when_nothing_is_kept_the_policys_own_scores_say_what_is_best():
    unasked = Request(CLASSES, np.zeros((1, 1, 3)), "", lambda names: pytest.fail("asked the model"))
    assert best_class(unasked, Choice((), (0.1, 0.3, 0.2))) == Choice((1,), (0.1, 0.3, 0.2))
    assert best_class(request(), Choice((), (None, None, None))) == Choice((0,), (0.9, 0.6, 0.4))


def test_candidates_file(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"photo.jpg": ["cat"]}))
    assert Candidates.read(path).names == {"photo.jpg": ["cat"]}


@pytest.mark.parametrize(
    ("keys", "photo", "key"),
    [
        (["train/0001.jpg", "val/0001.jpg"], "train/0001", "train/0001.jpg"),
        (["train/0001.jpg", "val/0001.jpg"], "/data/val/0001.jpg", "val/0001.jpg"),
        (["0001.jpg", "val/0001.jpg"], "/data/val/0001.jpg", "val/0001.jpg"),
        (["0001.jpg", "val/0001.jpg"], "/data/test/0001.jpg", "0001.jpg"),
        (["photos/cat.jpg"], "/data/photos/cat.jpg", "photos/cat.jpg"),
        (["photos/cat.jpg"], "cat.jpg", "photos/cat.jpg"),
        (["photos/cat.jpg"], "cat", "photos/cat.jpg"),
        (["photos/cat"], "./cat.JPG", "photos/cat"),
        (["cat", "cat.jpg"], "cat.jpg", "cat.jpg"),
        (["v1.5"], "photos/v1.5.png", "v1.5"),
        (["shard.tar/a.png"], "in/shard.tar/a.png", "shard.tar/a.png"),
        (["v1"], "v1.5", None),
        (["v1.5"], "v1", None),
        (["photos/cat.jpg"], "cat.png", None),
        (["photos/cat.jpg"], "other/cat.jpg", None),
        (["photos/cat.jpg"], "hotos/cat.jpg", None),
        ([""], "cat.jpg", None),
    ],
)
def test_a_photo_is_listed_with_or_without_its_folders_and_ending(keys, photo, key):
    listed = Candidates({name: [name] for name in keys})
    if key is None:
        with pytest.raises(ConfigError, match=r"name no image .*: add it"):
            listed.of(photo)
    else:
        assert listed.of(photo) == [key]


@pytest.mark.parametrize(
    ("keys", "photo"),
    [(["train/0001.jpg", "val/0001.jpg"], "0001"), (["cat.jpg", "cat.png"], "cat"), (["cat", "cat.jpg"], "a/cat.jpg")],
)
def test_a_photo_that_two_keys_name_is_refused(keys, photo):
    with pytest.raises(ConfigError, match=f"'{keys[0]}' and '{keys[1]}' both name the image '{photo}'"):
        Candidates({name: [name] for name in keys}).of(photo)


@pytest.mark.parametrize("text", ["[1]", '{"a": "cat"}', '{"a": [1]}', "{", "\x00"])
def test_malformed_candidates(tmp_path, text):
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Candidates.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_candidates(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        Candidates.read(tmp_path / "none.json")
