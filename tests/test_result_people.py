"""The result in the hands of people and their tools: one line, a card, names as keys, files read back."""

import html
import json
import pickle
import re
from copy import copy, deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from pnp_ovss import Segmentation, Segmenter, SegmenterConfig
from pnp_ovss.errors import ClassNameError, DatasetError, ImageError
from pnp_ovss.masks.rasterise import rasterise_polygon
from pnp_ovss.masks.rle import decode_mask
from pnp_ovss.pictures.palette import palette
from pnp_ovss.testing.fake_vlm import FakeVLM
from pnp_ovss.trace import Photo
from tests.scenes import two_squares

CONFIG = SegmenterConfig(layer=2, head=2, size_px=96, refine="none")
NAMES = [("red", "crimson"), "green", "blue"]


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter(FakeVLM(), CONFIG)


@pytest.fixture(scope="module")
def result(segmenter):
    return segmenter(two_squares(), NAMES, image_name="scene.jpg")


def test_every_value_is_one_line(segmenter, result):
    trace = segmenter.look(segmenter.prepare(two_squares(), NAMES, image_name="scene.jpg"))
    for value in (segmenter, result, trace, trace.prepared):
        assert "\n" not in repr(value)
        assert len(repr(value)) < 200
    share = 100 * result.shares["red"]
    assert repr(result).startswith(f"Segmentation(scene.jpg, 128 x 96 px: red {share:.1f} %, blue ")
    assert repr(result).endswith("; not found: green)")
    assert repr(segmenter) == "Segmenter(fake, method custom, policy itm, refiner none, 96 px)"


def test_the_line_stays_short_whatever_was_asked(segmenter):
    many = segmenter(two_squares(), [f"name {i}" for i in range(500)])
    assert "and 494 more" in repr(many)
    assert len(repr(many)) < 200
    assert "\n" not in repr(replace(many, image_name="a\nb.jpg"))


def test_card_shows_colour_share_match_and_escapes(segmenter):
    rude = "<img src=x onerror=alert(1)>"
    found = segmenter(two_squares(), ["red", rude, "green"], image_name='"><b>.jpg')
    card = found._repr_html_()
    assert rude not in card
    assert html.escape(rude) in card
    assert '"><b>' not in card
    assert "#{:02x}{:02x}{:02x}".format(*palette(3)[1]) in card
    assert f"{100 * found.shares['red']:.1f} %" in card
    assert f"{found.match_scores['red']:.2f}" in card
    assert html.escape("0.00 < 0.5") in card
    assert re.search(r"src='data:image/png;base64,[A-Za-z0-9+/=]{100,}'", card)


def test_names_are_keys_and_synonyms_count(result):
    np.testing.assert_array_equal(result["Crimson"], result.labels == 1)
    np.testing.assert_array_equal(result.mask("red"), result["red"])
    assert list(result) == ["red", "blue"]
    assert len(result) == 2
    assert "crimson" in result
    assert "green" not in result  # asked and not found
    assert "zebra" not in result
    with pytest.raises(ClassNameError, match="'zebra' was not asked for; asked were red, green, blue"):
        result["zebra"]
    with pytest.raises(ClassNameError, match="1 was not asked"):
        result[1]


def test_a_result_without_a_find_is_still_true(segmenter):
    nothing = segmenter(two_squares(), ["green"])
    assert len(nothing) == 0
    assert nothing


def test_is_an_array_of_labels(result):
    labels = np.asarray(result)
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(labels, result.labels)
    assert np.asarray(result, dtype=np.int64).dtype == np.int64


def sent(value):
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("again", [lambda value: value, copy, deepcopy, sent, replace])
def test_arrays_are_read_only(segmenter, again):
    """Of a result, and of what lies before it, whatever way it was copied."""
    trace = segmenter.look(segmenter.prepare(two_squares(), NAMES))
    found = segmenter.label(trace)
    for value in (again(found), again(trace).prepared, again(trace.prepared), again(Photo(two_squares()))):
        for name, array in vars(value).items():
            if isinstance(array, np.ndarray):
                with pytest.raises(ValueError, match="read-only"):
                    getattr(value, name)[:] = 1
    assert again(found).shares == found.shares
    np.testing.assert_array_equal(again(found).labels, found.labels)


def test_the_callers_photo_stays_writable(segmenter):
    photo = two_squares()
    segmenter(photo, ["red"])
    photo[0, 0] = 7


def test_polygons_fill_to_the_mask_again(result):
    for name in result:
        filled = np.zeros((96, 128), dtype=bool)
        for region in result.polygons(name, min_region_px=0):
            for ring in (region.outer, *region.holes):
                filled ^= rasterise_polygon(ring.ravel().tolist(), 96, 128)
        np.testing.assert_array_equal(filled, result[name])


def test_polygons_have_no_specks_unless_asked(result):
    """1/5000 of 96 x 128 px is 3 px."""
    labels = result.labels.copy()
    labels[0, 0] = labels[95, 0:2] = 2
    labels[50:60, 5:15] = 2
    speckled = replace(result, labels=labels)
    assert len(speckled.polygons("green")) == 1
    assert len(speckled.polygons("green", min_region_px=0)) == 3
    assert len(speckled.polygons("green", min_region_px=2)) == 2
    only = np.zeros_like(labels)
    only[0, 0] = 2
    assert replace(result, labels=only).polygons("green") == []


def test_rle_is_cocos(result):
    np.testing.assert_array_equal(decode_mask(result.rle("blue"), 96, 128), result["blue"])


def test_saved_with_scores_all_comes_back(result, tmp_path):
    paths = result.save(tmp_path, scores=True)
    assert set(paths) == {"labels", "overlay", "json", "scores"}
    again = Segmentation.load(tmp_path)
    for name in ("labels", "scores", "maps", "image"):
        np.testing.assert_array_equal(getattr(again, name), getattr(result, name))
    assert again.to_dict() == json.loads(json.dumps(result.to_dict()))
    assert again.to_hf()[0]["score"] == pytest.approx(result.to_hf()[0]["score"])
    assert again.provenance.config == result.provenance.config
    np.testing.assert_array_equal(again["crimson"], result["red"])


def test_saved_again_without_scores_no_older_ones_come_back(result, tmp_path):
    result.save(tmp_path, "a", scores=True)
    replace(result, labels=np.zeros_like(result.labels)).save(tmp_path, "a")
    again = Segmentation.load(tmp_path)
    assert not len(again.scores)
    assert (again.image == 255).all()


def test_a_photo_of_another_size_is_refused(result, tmp_path):
    result.save(tmp_path)
    with pytest.raises(ImageError, match="the photo has 96 x 128 px and the result 128 x 96"):
        Segmentation.load(tmp_path, image=two_squares().transpose(1, 0, 2).copy())


def test_loaded_without_scores_says_what_it_knows(result, tmp_path):
    lost = replace(result, labels=np.where(result.labels == 3, 1, result.labels).astype(np.uint16))
    lost.save(tmp_path, "a")
    lost.save(tmp_path, "b")
    with pytest.raises(DatasetError, match=r"2 results \(a, b\); say which"):
        Segmentation.load(tmp_path)
    again = Segmentation.load(tmp_path, "b", image=two_squares())
    assert again.verdict("blue") == lost.verdict("blue") == "found, lost its pixels to red"
    assert again.match_scores["red"] == pytest.approx(result.match_scores["red"], abs=1e-6)
    assert [entry["score"] for entry in again.to_hf()] == [None]
    assert again.overlay().tobytes() == lost.overlay().tobytes()
    assert (Segmentation.load(tmp_path, "b").image == 255).all()


def test_what_is_no_result_is_one_line(result, tmp_path):
    with pytest.raises(DatasetError, match=r"holds no \*\.labels\.png"):
        Segmentation.load(tmp_path)
    paths = result.save(tmp_path, scores=True)
    paths["scores"].write_bytes(paths["scores"].read_bytes()[:50])
    with pytest.raises(DatasetError, match=r"scores\.npz is damaged"):
        Segmentation.load(tmp_path)
    paths["scores"].unlink()
    labels = paths["labels"].read_bytes()
    length = labels.index(b"IDAT") - 1  # the last byte of it
    paths["labels"].write_bytes(labels[:length] + b"\0" + labels[length + 1 :])  # Pillow raises a SyntaxError
    with pytest.raises(DatasetError, match=r"labels\.png cannot be read .*; segment the photo again"):
        Segmentation.load(tmp_path)
    paths["labels"].write_bytes(labels)
    record = json.loads(paths["json"].read_text())
    paths["json"].write_text(json.dumps({**record, "size": [5, 5]}))
    with pytest.raises(DatasetError, match="not of one result"):
        Segmentation.load(tmp_path)
    paths["json"].write_text(json.dumps({**record, "config": {"no_such": 1}}))
    with pytest.raises(DatasetError, match="another version: unknown setting 'no_such'"):
        Segmentation.load(tmp_path)
    paths["json"].write_text("[1]")
    with pytest.raises(DatasetError, match="is not a result"):
        Segmentation.load(tmp_path)


def test_supervision_takes_it(result):
    sv = pytest.importorskip("supervision")
    found = result.to_supervision()
    assert isinstance(found, sv.Detections)
    assert found.data["class_name"].tolist() == ["red", "blue"]
    assert found.class_id.tolist() == [0, 2]
    np.testing.assert_array_equal(found.mask[1], result["blue"])
    np.testing.assert_array_equal(found.xyxy, sv.mask_to_xyxy(found.mask))
    assert found.confidence.tolist() == pytest.approx([e["score"] for e in result.to_hf()], abs=1e-6)
    annotated = sv.MaskAnnotator().annotate(result.image.copy(), found)
    assert (annotated != result.image).any()
    assert len(replace(result, labels=np.zeros_like(result.labels)).to_supervision()) == 0


def test_without_supervision_one_sentence(result, monkeypatch):
    import sys

    from pnp_ovss.errors import DependencyError

    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(DependencyError, match="pip install supervision"):
        result.to_supervision()


def test_a_tensor_is_a_photo(segmenter, result):
    photo = torch.from_numpy(two_squares()).permute(2, 0, 1)
    for tensor in (photo, photo.float() / 255):
        np.testing.assert_array_equal(segmenter(tensor, NAMES).labels, result.labels)
