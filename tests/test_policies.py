"""Class policies: who competes."""

import json

import numpy as np
import pytest

from pnp_ovss.errors import ConfigError
from pnp_ovss.policies import (
    AllClasses,
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
    choice = MatchPolicy(0.5)(request())
    assert choice.kept == (0, 1)
    assert choice.scores == (0.9, 0.6, 0.4)


def test_the_threshold_is_reached_not_exceeded():
    assert MatchPolicy(0.6)(request()).kept == (0, 1)
    assert MatchPolicy(0.61)(request()).kept == (0,)


def test_all_asks_no_model():
    choice = AllClasses()(Request(CLASSES, np.zeros((1, 1, 3)), "", lambda names: pytest.fail("asked the model")))
    assert choice.kept == (0, 1, 2)
    assert choice.scores == (None, None, None)


@pytest.mark.parametrize("key", ["a/photo.jpg", "photo.jpg", "photo"])
def test_listed_by_path_name_or_stem_any_case_and_any_synonym(key):
    choice = ListedClasses({key: ["Couch", "zebra"]})(request())
    assert choice.kept == (1,)


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
