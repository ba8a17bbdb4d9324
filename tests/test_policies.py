"""Class policies: who competes."""

import json

import numpy as np
import pytest

from pnp_ovss.errors import ConfigError
from pnp_ovss.policies import (
    AllClasses,
    ClipPolicy,
    KeepRule,
    ListedClasses,
    MatchPolicy,
    Request,
    make_policy,
    read_candidates,
)

CLASSES = (("cat",), ("sofa", "couch"), ("tv",))
SCORES = {"cat": 0.9, "sofa": 0.1, "couch": 0.6, "tv": 0.4}


def request(image_id="a/photo.jpg"):
    image = np.zeros((2, 2, 3), np.uint8)
    return Request(CLASSES, image, image_id, lambda names: [SCORES[n] for n in names])


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


def test_clip_by_name_loads_its_model_once(monkeypatch):
    from pnp_ovss import scorers

    loaded = []
    monkeypatch.setattr(
        scorers.ClipScorer, "from_pretrained", lambda model, device: loaded.append((model, device)) or Likeness()
    )
    options = {"model": "my/clip", "top_k": 2, "relative": 0.0}
    for _ in range(3):
        policy = make_policy("clip", options=options, device="cpu")
    assert loaded == [("my/clip", "cpu")]
    assert policy.rule == KeepRule(0.0, relative=0.0, top_k=2)
    assert policy(request()).kept == (0, 1)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("itm", {"model": "x"}, "policy 'itm' has no option 'model'; its options are relative, top_k"),
        ("all", {"top_k": 1}, "policy 'all' has no option 'top_k'; its options are none"),
        ("itm", {"top_k": 1.5}, "policy 'itm': top_k = 1.5 is not possible"),
        ("clip", {"relative": -1}, "relative = -1 is not possible"),
        ("itm", {"relative": True}, "relative = True is not possible"),
    ],
)
def test_wrong_options_are_errors(name, options, message):
    with pytest.raises(ConfigError, match=message):
        make_policy(name, options=options)


def test_all_asks_no_model():
    choice = AllClasses()(Request(CLASSES, np.zeros((1, 1, 3)), "", lambda names: pytest.fail("asked the model")))
    assert choice.kept == (0, 1, 2)
    assert choice.scores == (None, None, None)


@pytest.mark.parametrize("key", ["a/photo.jpg", "photo.jpg", "photo"])
def test_listed_by_path_name_or_stem_any_case_and_any_synonym(key):
    choice = ListedClasses({key: ["Couch", "zebra"]})(request())
    assert choice.kept == (1,)


def test_keys_with_an_ending_name_an_image_without_one():
    asked = Request(CLASSES, np.zeros((1, 1, 3)), "photo", lambda names: [])
    assert ListedClasses({"photo.jpg": ["sofa"], "other.jpg": []})(asked).kept == (1,)
    with pytest.raises(ConfigError, match="name no image 'photo'"):
        ListedClasses({"photo.jpg": ["sofa"], "photo.png": ["cat"]})(asked)  # which of the two?


def test_an_empty_list_is_an_answer_a_missing_one_is_not():
    assert ListedClasses({"photo": []})(request()).kept == ()
    with pytest.raises(ConfigError, match="name no image"):
        ListedClasses({"other": []})(request())


def test_names():
    assert [make_policy(n, candidates={}).name for n in ("all", "itm", "file", "oracle")] == [
        "all",
        "itm",
        "file",
        "oracle",
    ]
    with pytest.raises(ConfigError, match="unknown policy 'best'"):
        make_policy("best")
    with pytest.raises(ConfigError, match="needs --candidates"):
        make_policy("file")
    with pytest.raises(ConfigError, match="ground truth"):
        make_policy("oracle")


def test_candidates_file(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"photo.jpg": ["cat"]}))
    assert read_candidates(path) == {"photo.jpg": ["cat"]}


@pytest.mark.parametrize("text", ["[1]", '{"a": "cat"}', '{"a": [1]}', "{", "\x00"])
def test_malformed_candidates(tmp_path, text):
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_candidates(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_candidates(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        read_candidates(tmp_path / "none.json")
