"""The result: what it says of itself, what it saves."""

import dataclasses
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pnp_ovss import Segmenter, SegmenterConfig
from pnp_ovss.errors import ClassNameError, OutputError
from pnp_ovss.pictures.labels_image import labels_image
from pnp_ovss.pictures.overlay import draw_overlay
from pnp_ovss.pictures.palette import palette
from pnp_ovss.testing.fake_vlm import FakeVLM
from tests.scenes import two_squares


@pytest.fixture(scope="module")
def result():
    config = SegmenterConfig(layer=2, head=2, size_px=96, refine="none")
    return Segmenter(FakeVLM(), config)(two_squares(), ["red", "green", "blue"], image_name="scene.jpg")


def test_frozen(result):
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.labels = None


def test_shares_are_pixel_counts(result):
    assert result.shares["red"] == (result.labels == 1).mean()
    assert result.shares["green"] == 0
    assert list(result.shares) == ["red", "green", "blue"]


def test_unknown_class(result):
    with pytest.raises(ClassNameError, match="asked were red, green, blue"):
        result.mask("cat")


def test_json_lists_every_asked_class(result):
    data = json.loads(json.dumps(result.to_dict()))
    assert set(data) == {
        "image", "size", "classes", "model", "weights", "method", "policy", "refiner", "passes", "config", "versions",
        "time", "seconds", "advice",
    }  # fmt: skip
    assert data["size"] == [96, 128]
    assert [c["name"] for c in data["classes"]] == ["red", "green", "blue"]
    assert [c["id"] for c in data["classes"]] == [1, 2, 3]
    assert data["classes"][1]["share"] == 0
    assert data["config"]["drops"] == 4
    assert {"torch", "pnp-ovss"} <= set(data["versions"])
    assert {"encode", "saliency", "refine"} <= set(data["seconds"])


def test_a_class_says_why_it_has_no_pixels(result):
    assert result.verdict("red") == "found"
    assert result.verdict("green") == "0.00 < 0.5"
    assert [c["verdict"] for c in result.to_dict()["classes"]] == ["found", "0.00 < 0.5", "found"]
    lost = replace(result, labels=np.where(result.labels == 3, 1, result.labels).astype(np.uint16))
    assert lost.verdict("blue") == "found, lost its pixels to red"
    gone = replace(result, labels=np.where(result.labels == 3, 0, result.labels).astype(np.uint16))
    assert gone.verdict("blue") == "found, lost its pixels to background"
    unasked = replace(result, match_scores={"red": 0.9, "green": None, "blue": 0.9})
    assert unasked.verdict("green") == "not among the names that may win"
    behind = replace(result, match_scores={"red": 0.9, "green": 0.7, "blue": 0.9})
    assert behind.verdict("green") == "0.70, behind others (look_alikes, match_relative, match_top_k)"
    with pytest.raises(ClassNameError, match="'zebra' was not asked for"):
        result.verdict("zebra")


def test_saved_files_read_back(result, tmp_path):
    paths = result.save(tmp_path / "deep" / "folder")
    assert sorted(p.name for p in paths.values()) == ["scene.json", "scene.labels.png", "scene.overlay.png"]
    with Image.open(paths["labels"]) as labels:
        assert labels.mode == "P"
        np.testing.assert_array_equal(np.asarray(labels), result.labels)
        assert tuple(labels.getpalette()[3:6]) == tuple(palette(1)[1])
    with Image.open(paths["overlay"]) as overlay:
        assert overlay.width >= 128


def test_labels_over_255_classes_are_16_bit(tmp_path):
    labels = np.arange(600, dtype=np.uint16).reshape(20, 30)
    labels_image(labels, 600).save(tmp_path / "l.png")
    with Image.open(tmp_path / "l.png") as read:
        np.testing.assert_array_equal(np.asarray(read), labels)
    assert labels_image(labels % 255, 255).mode == "P"


def test_unwritable_folder_is_one_line(result, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write to .*below"):
        result.save(tmp_path / "file" / "below")


def test_hugging_face_convention(result):
    found = result.to_hf()
    assert [entry["label"] for entry in found] == ["red", "blue"]
    for entry in found:
        assert entry["mask"].mode == "L"
        assert entry["mask"].size == (128, 96)
        assert 0 < entry["score"] <= 1
    np.testing.assert_array_equal(np.asarray(found[0]["mask"]) == 255, result.mask("red"))


def test_overlay_colours_the_mask_and_names_it():
    photo = np.full((400, 600, 3), 100, np.uint8)
    labels = np.zeros((400, 600), np.uint16)
    labels[100:300, 100:300] = 1
    picture = np.asarray(draw_overlay(photo, labels, ["cat"]))
    assert picture.shape[0] > 400  # the legend is below
    colour = palette(1)[1].astype(int)
    np.testing.assert_allclose(picture[200, 200], (100 + colour) / 2, atol=1)
    np.testing.assert_array_equal(picture[50, 50], photo[50, 50])
    assert (picture[100, 150] == colour).all()  # outline
    assert (picture[400:] < 100).any()  # text


def test_overlay_says_when_nothing_was_found():
    photo = np.zeros((50, 50, 3), np.uint8)
    empty = np.asarray(draw_overlay(photo, np.zeros((50, 50), np.uint16), ["cat"]))
    assert empty.shape[1] == 320  # tiny photos are enlarged for display
    assert (empty[320:] < 100).any()


def test_overlay_of_a_large_photo_is_scaled():
    photo = np.zeros((100, 4000, 3), np.uint8)
    assert draw_overlay(photo, np.zeros((100, 4000), np.uint16), ["a"]).width == 1600
