"""Photos that are encoded and looked at together are labelled as each is alone; what is together is counted."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from pnp_ovss import PnPError, Segmenter, SegmenterConfig
from pnp_ovss.errors import ClassNameError, ConfigError, ImageError
from pnp_ovss.testing import small_models
from pnp_ovss.testing.fake_vlm import FakeVLM
from pnp_ovss.trace import Photo
from tests.near import equal, near
from tests.scenes import two_squares
from tests.segmented import CONFIG as FAKE
from tests.segmented import NAMES as COLOURS

pytest.importorskip("transformers")
NAMES = ("cat", "traffic light", "dog", "sofa", "tree", "person")
CONFIG = SegmenterConfig(layer=2, head="mean", size_px=64, drops=2, refine="none", empty="best")
SHAPES = ((40, 60), (64, 64), (60, 40), (90, 30), (40, 60))


def small_pocket():
    """The built-in model's architecture with one layer less and random weights."""
    from pnp_ovss.vlms.encoders.pocket_model import PocketModel
    from pnp_ovss.vlms.encoders.pocket_text import PocketConfig

    return small_models.randomise(
        PocketModel(PocketConfig(vocabulary=200, width=48, layers=3, heads=3, feed_forward=96))
    )


@cache
def wordpiece(first_token=None):
    from pnp_ovss.vlms.encoders.wordpiece import WordPieceTokenizer

    folder = Path(tempfile.mkdtemp())
    return WordPieceTokenizer.from_vocabulary(small_models.wordpiece_file(folder), first_token=first_token)


@cache
def make(kind, *, exact=True):
    """An adapter of the kind with random weights; in float64, where rounding cannot decide which patch is dropped."""
    from pnp_ovss.vlms.blip import ENC_TOKEN, BlipVLM
    from pnp_ovss.vlms.pocket import PocketVLM

    blip = kind == "blip"
    vlm = BlipVLM(small_models.small_blip(), wordpiece(ENC_TOKEN)) if blip else PocketVLM(small_pocket(), wordpiece())
    if exact:
        vlm.model.double()
    return vlm


def photos(shapes=SHAPES):
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]


SETTINGS = {
    "black": {},
    "mean": {"hole": "mean", "gradient": "margin", "drop_score": "tokens"},
    "remove_tokens": {"hole": "remove_tokens", "drop_patches": 5},
    "mirror": {"mirror": True, "baseline_prompt": "a picture of grass"},
    "softmax": {"softmax_over_classes": True, "drop_score": "tokens", "gradient": "none"},
    "aspect": {"keep_aspect": True, "completion": "affinity", "competition": "equal_mass"},
}


def choosy(vlm, **settings):
    """A segmenter that keeps half of all names, other ones of each photo."""
    segmenter = Segmenter(vlm, CONFIG.replace(**settings))
    scores = sorted(score for photo in photos() for score in segmenter.prepare(photo, NAMES).match_scores)
    return segmenter.replace(match_threshold=(scores[len(scores) // 2 - 1] + scores[len(scores) // 2]) / 2)


CASES = [("blip", name) for name in SETTINGS] + [("pocket", "black"), ("pocket", "remove_tokens")]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_results_are_those_of_single_photos(monkeypatch, kind, name):
    """Different names are kept of each photo, so that their prompts, one or several, have different lengths."""
    vlm = make(kind)
    monkeypatch.setattr(vlm, "max_tokens", 15)
    segmenter = choosy(vlm, **SETTINGS[name])
    alone = [segmenter(photo, NAMES) for photo in photos()]
    assert len({len(result.kept) for result in alone}) > 1
    for found, wanted in zip(segmenter.segment_many(photos(), NAMES, at_once=3), alone, strict=True):
        assert found.kept == wanted.kept
        assert found.provenance.passes == wanted.provenance.passes
        equal(torch.tensor(found.maps), torch.tensor(wanted.maps))
        np.testing.assert_array_equal(found.labels, wanted.labels)


@pytest.mark.parametrize("kind", ["blip", "pocket"])
def test_in_float32_they_agree_but_for_rounding(kind):
    segmenter = choosy(make(kind, exact=False), drops=0)
    for found, photo in zip(segmenter.segment_many(photos(), NAMES, at_once=5), photos(), strict=True):
        wanted = segmenter(photo, NAMES)
        assert found.kept == wanted.kept
        near(found.maps, wanted.maps, atol=1e-3)


class Counted:
    """How many photos each run of the image side and each backward pass had."""

    def __init__(self, vlm, monkeypatch):
        self.encoded, self.graphs = [], []
        side, grad = vlm.model.vision_model.embeddings.patch_embedding, torch.autograd.grad
        encode = side.forward
        monkeypatch.setattr(side, "forward", lambda pixels: self.encoded.append(len(pixels)) or encode(pixels))
        counted = lambda value, leaves, *more: self.graphs.append(len(leaves[0])) or grad(value, leaves, *more)  # noqa: E731
        monkeypatch.setattr(torch.autograd, "grad", counted)


def test_photos_of_one_size_share_every_run_of_the_model(monkeypatch):
    vlm = make("blip")
    segmenter = Segmenter(vlm, CONFIG.replace(policy="all", mirror=True))
    counted = Counted(vlm, monkeypatch)
    assert len(list(segmenter.segment_many(photos(), NAMES, at_once=3))) == 5
    assert counted.encoded == [3] * 6 + [2] * 6  # three passes, and three of the mirror image
    assert counted.graphs == counted.encoded
    counted.encoded.clear()
    list(segmenter.segment_many(photos(), NAMES))
    assert counted.encoded == [1] * 30


def test_photos_of_other_sizes_are_apart(monkeypatch):
    vlm = make("blip")
    counted = Counted(vlm, monkeypatch)
    sized = Segmenter(vlm, CONFIG.replace(policy="all", keep_aspect=True, drops=1))
    results = list(sized.segment_many(photos(), NAMES, at_once=5))
    assert sorted(counted.encoded) == [1] * 6 + [2] * 2
    assert [result.maps.shape[1:] for result in results] == [(8, 12), (8, 8), (12, 8), (24, 8), (8, 12)]


def test_prompts_that_a_photo_has_more_of_are_asked_of_it_alone(monkeypatch):
    vlm = make("blip")
    counted = Counted(vlm, monkeypatch)
    monkeypatch.setattr(vlm, "max_tokens", 15)
    segmenter = Segmenter(vlm, CONFIG.replace(drops=0))
    one, other = photos()[:2]
    traces = segmenter.look_many(segmenter.prepare_many([Photo(one, keep=NAMES), Photo(other, keep=("cat",))], NAMES))
    assert [len(trace.prepared.names) for trace in traces] == [6, 1]
    assert counted.graphs[0] == 2
    assert set(counted.graphs[1:]) == {1}


def test_a_broken_photo_among_good_ones_is_the_only_one_to_fail(tmp_path):
    """One that cannot be read, one whose name cannot be prompted: errors in their places."""
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    good = photos()
    segmenter = Segmenter(make("blip"), CONFIG.replace(policy="all"))
    results = list(segmenter.segment_many([good[0], bad, *good[1:3]], NAMES, at_once=4))
    assert [type(result) for result in results].count(ImageError) == 1
    assert isinstance(results[1], ImageError)

    long = " ".join(["zq"] * 60)
    given = [Photo(good[0], keep=["cat"]), Photo(good[1], keep=[long]), Photo(good[2], keep=["dog"])]
    first, refused, last = segmenter.segment_photos(given, [*NAMES, long])
    assert isinstance(refused, ClassNameError)
    for found, photo in ((first, given[0]), (last, given[2])):
        wanted = segmenter(photo.image, [*NAMES, long], keep=photo.keep)
        np.testing.assert_array_equal(found.labels, wanted.labels)


def test_nothing_that_can_be_read_gives_errors_alone(tmp_path):
    missing = [tmp_path / "a.png", tmp_path / "b.png"]
    results = list(Segmenter(FakeVLM(), FAKE).segment_many(missing, COLOURS, at_once=2))
    assert [type(result) for result in results] == [ImageError] * 2
    assert list(Segmenter(FakeVLM(), FAKE).segment_many([], COLOURS, at_once=2)) == []


def test_photos_are_read_no_further_ahead_than_they_go_together():
    taken = []

    def source():
        for number in range(7):
            taken.append(number)
            yield two_squares()

    results = Segmenter(FakeVLM(), FAKE).segment_many(source(), COLOURS, at_once=3)
    assert taken == []
    for done in range(1, 8):
        assert not isinstance(next(results), PnPError)
        assert len(taken) == min(7, 3 * ((done + 2) // 3))


def test_none_at_once_is_refused():
    with pytest.raises(ConfigError, match="at_once = 0 is not possible"):
        list(Segmenter(FakeVLM(), FAKE).segment_many([two_squares()], COLOURS, at_once=0))


def test_a_model_that_takes_one_photo_at_a_time_gives_the_same():
    vlm = FakeVLM()
    segmenter = Segmenter(vlm, FAKE.replace(drops=2))
    scenes = [two_squares(), two_squares(64, 64), np.flip(two_squares(), 0).copy()]
    found = list(segmenter.segment_many(scenes, COLOURS, at_once=3))
    assert vlm.encoded == 9
    for result, scene in zip(found, scenes, strict=True):
        np.testing.assert_array_equal(result.labels, segmenter(scene, COLOURS).labels)


def test_a_photo_without_a_class_has_no_passes_and_the_others_have_theirs():
    segmenter = Segmenter(make("blip"), CONFIG.replace(empty="background"))
    one, other, third = photos()[:3]
    given = [Photo(one, keep=["cat"]), Photo(other, keep=[]), Photo(third, keep=["dog"])]
    traces = segmenter.look_many(segmenter.prepare_many(given, NAMES))
    assert [len(trace.passes) for trace in traces] == [3, 0, 3]
    assert [trace.prepared.image.shape for trace in traces] == [photo.image.shape for photo in given]


def test_the_time_is_shared_out():
    segmenter = Segmenter(FakeVLM(), FAKE)
    traces = segmenter.look_many(segmenter.prepare_many([Photo(two_squares())] * 4, COLOURS))
    assert len({trace.seconds["saliency"] for trace in traces}) == 1
    assert len({trace.prepared.seconds["encode"] for trace in traces}) == 1
