"""`auto`: names that nobody lists are those that the model finds."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pnp_ovss import Segmenter
from pnp_ovss.automatic import MOST, Automatic, asked_classes
from pnp_ovss.classes import parse_classes
from pnp_ovss.cli.options import read_classes, with_fixed_ids
from pnp_ovss.datasets.vocabulary import get_vocabulary
from pnp_ovss.errors import ClassNameError, ConfigError
from pnp_ovss.explain import explain_photo
from pnp_ovss.presence import Presence
from pnp_ovss.spec import SegmenterSpec
from pnp_ovss.testing.fake_vlm import FakeVLM
from pnp_ovss.tiles import segment_tiled
from tests.commands import caller
from tests.scenes import two_squares
from tests.segmented import CONFIG

SURE = {"red": 0.8, "blue": 0.9, "green": 0.2, "grey": 0.7, "white": 0.1}


class Told(Presence):
    """Is as sure of each name as `SURE` says."""

    def __call__(self, features, names):
        return [SURE[name] for name in names]


@pytest.fixture
def colours(tmp_path):
    path = tmp_path / "colours.txt"
    path.write_text("green\nred\nwhite\nblue, grey\n")
    return path


def segmenter(**settings):
    vlm, config = FakeVLM(), CONFIG.replace(match_threshold=0.5, **settings)
    return Segmenter(vlm, config, presence=Told(vlm, config.template))


def test_what_is_found_competes_the_surest_first(colours):
    prepared = segmenter().prepare(two_squares(), f"auto:{colours}")
    assert prepared.classes == (("blue", "grey"), ("red",))
    assert prepared.match_scores == (0.9, 0.8)
    assert prepared.kept == (0, 1)
    assert prepared.policy == "auto:colours.txt"


def test_it_is_as_if_somebody_had_listed_them(colours):
    found, listed = (segmenter()(two_squares(), names) for names in (f"auto:{colours}", [("blue", "grey"), "red"]))
    np.testing.assert_array_equal(found.labels, listed.labels)
    assert found.class_names == listed.class_names == ("blue", "red")
    assert found["red"].any()
    assert found.provenance.policy == "auto:colours.txt"


@pytest.mark.parametrize(
    ("settings", "names"),
    [({"match_top_k": 1}, ("blue",)), ({"match_threshold": 0.85}, ("blue",)), ({"match_relative": 0.95}, ("blue",))],
)
def test_the_rule_is_that_of_the_settings(colours, settings, names):
    assert segmenter().replace(**settings).prepare(two_squares(), f"auto:{colours}").classes.names == names


def test_at_most_so_many_where_nothing_else_is_said(tmp_path, monkeypatch):
    many = {f"thing {number}": 0.6 for number in range(MOST + 5)}
    monkeypatch.setattr("tests.test_automatic.SURE", many)
    path = tmp_path / "many.txt"
    path.write_text("\n".join(many))
    assert segmenter().prepare(two_squares(), f"auto:{path}").classes.names == tuple(many)[:MOST]


@pytest.mark.parametrize(("empty", "kept"), [("background", ()), ("best", (0,))])
def test_where_nothing_is_found_the_best_is_named(colours, empty, kept):
    strict = segmenter(empty=empty).replace(match_threshold=0.95)
    found = strict(two_squares(), f"auto:{colours}")
    assert found.class_names == ("blue",)
    assert strict.prepare(two_squares(), f"auto:{colours}").kept == kept
    assert found.labels.any() == bool(kept)
    assert kept or "the best is 'blue' with 0.90" in found.advice


def test_a_list_of_the_callers_and_auto_are_one_too_many(colours):
    with pytest.raises(ConfigError, match="finds the names itself"):
        segmenter().prepare(two_squares(), f"auto:{colours}", keep=["red"])


def test_the_vocabularies():
    assert asked_classes("auto:coco").names == get_vocabulary("coco_object80").names
    assert asked_classes("auto:ade20k").names == get_vocabulary("ade150").names
    own = asked_classes(" auto ")
    assert {"person", "dog", "sky", "apple"} <= set(own.names)
    assert not {"puppy", "kitchen"} & set(own.names)
    assert all(len(group) == 1 for group in own)


def test_the_tags_are_what_the_model_was_taught():
    lines = (Path(__file__).parents[1] / "training" / "concepts.txt").read_text("utf-8").splitlines()
    taught = {line.strip().lstrip("~").split("@")[0].split(",")[0].strip() for line in lines}
    assert set(asked_classes("auto").names) <= taught


@pytest.mark.parametrize("names", ["auto,", ["auto"], "auto, cat", "Auto", "automobile"])
def test_a_class_can_have_the_name(names):
    assert not isinstance(asked_classes(names), Automatic)


def test_the_built_in_bank_knows_the_names_of_auto():
    from pnp_ovss.presence import NameBank

    bank = NameBank.load("pocket")
    assert set(asked_classes("auto").names) <= set(bank.medians)


def test_no_file_is_read_for_a_stranger(colours):
    with pytest.raises(ClassNameError, match="auto: and one of coco, ade20k"):
        asked_classes(f"auto:{colours}", files=False)
    with pytest.raises(ClassNameError, match="there is no such class file"):
        asked_classes("auto:nowhere")


def test_it_travels_to_other_processes(colours):
    sent = pickle.loads(pickle.dumps(asked_classes(f"auto:{colours}")))
    assert isinstance(sent, Automatic)
    assert (sent, sent.source) == (asked_classes(f"auto:{colours}"), "auto:colours.txt")


def test_windows_ask_for_what_the_whole_photo_shows(colours):
    found = segment_tiled(segmenter(), two_squares(), f"auto:{colours}")
    assert found.class_names == ("blue", "red")
    assert found.provenance.policy == "auto:colours.txt"


def test_the_pictures_of_explain(colours):
    assert list(explain_photo(segmenter(), two_squares(), f"auto:{colours}")) == ["blue", "red"]


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(two_squares()).save(path)
    return path


def test_the_command_line(photo, colours, tmp_path, monkeypatch, capsys):
    call = caller(monkeypatch, capsys)
    code, _, error = call("segment", photo, "--classes", f"auto:{colours}", "--out", tmp_path / "out")
    assert code == 0, error
    record = json.loads((tmp_path / "out" / "photo.json").read_text())
    assert {entry["name"] for entry in record["classes"]} == {"red", "blue"}
    assert record["policy"] == "auto:colours.txt"
    assert call("gallery", photo, "--classes", f"auto:{colours}", "--out", tmp_path / "gallery")[0] == 0


def test_a_batch_has_one_list_of_ids_for_all_photos(colours):
    spec, names = with_fixed_ids(SegmenterSpec(settings={"blur": 0.0}), asked_classes(f"auto:{colours}"))
    assert names == parse_classes([["green"], ["red"], ["white"], ["blue", "grey"]])
    assert not isinstance(names, Automatic)
    assert spec.settings == {"policy": "itm", "match_top_k": MOST, "blur": 0.0}
    assert (
        with_fixed_ids(SegmenterSpec(settings={"match_top_k": 3}), asked_classes("auto"))[0].settings["match_top_k"]
        == 3
    )
    with pytest.raises(ConfigError, match="leave --candidates out"):
        with_fixed_ids(SegmenterSpec(candidates={}), asked_classes("auto"))


def test_a_command_that_needs_a_list_says_so():
    with pytest.raises(ClassNameError, match="this command needs a list"):
        read_classes("auto", None)
