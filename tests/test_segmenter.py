"""The whole method on a model whose answers are known."""

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pnp_ovss import PnPError, Segmenter
from pnp_ovss.batch.pool import resident_gib
from pnp_ovss.config import SegmenterConfig
from pnp_ovss.errors import ClassNameError, ConfigError, ImageError
from pnp_ovss.images import to_pixels
from pnp_ovss.postprocess import argmax_labels, kept_scores
from pnp_ovss.presets import list_methods, resolve
from pnp_ovss.testing.fake_vlm import FakeVLM
from tests.near import near
from tests.scenes import BLUE, RED, two_squares
from tests.segmented import CONFIG, NAMES, interior, segment


@pytest.mark.parametrize("refine", ["none", "densecrf"])
def test_masks_lie_on_their_objects_and_absent_classes_get_nothing(refine):
    image = two_squares()
    result = segment(image, refine=refine, blur=0.02)
    assert (result.labels[interior(image, RED)] == 1).all()
    assert (result.labels[interior(image, BLUE)] == 2).all()
    assert result.shares["green"] == 0
    assert result.labels[-5:, :20].max() == 0
    assert result.match_scores["red"] > 0.99 > 0.01 > result.match_scores["green"]


def test_mask_shapes_and_types():
    result = segment()
    assert result.labels.shape == (96, 128)
    assert result.labels.dtype == np.uint16
    assert result.scores.shape == (3, 96, 128)
    assert result.channels == (0, 1, 2)
    assert result.maps.shape == (2, 12, 12)
    assert result.kept == (1, 2)
    np.testing.assert_array_equal(result.mask("blue"), result.labels == 2)


def test_another_layer_or_head_sees_nothing():
    assert segment(head=1).scores.shape[0] == 1  # uniform maps survive no threshold
    assert segment(layer=1).labels.max() == 0


def test_mean_head_sees_the_signal_too():
    assert segment(head="mean").shares["red"] > 0.05


@pytest.mark.parametrize("drops", [0, 1, 4])
def test_one_encoding_a_pass_and_the_first_serves_the_policy(drops):
    vlm = FakeVLM()
    segment(vlm=vlm, drops=drops)
    assert vlm.encoded == drops + 1


def passes_of(vlm=None, names=("red", "blue"), **settings):
    segmenter = Segmenter(vlm or FakeVLM(), CONFIG.replace(**settings))
    return segmenter.look(segmenter.prepare(two_squares(), names, keep=names)).passes


def test_passes_halve_the_patches_and_dropped_ones_stay_zero():
    passes = passes_of()
    assert [int(p.visible.sum()) for p in passes] == [144, 72, 36, 18, 9]
    for earlier, later in pairwise(passes):
        assert not (later.visible & ~earlier.visible).any()
        assert (later.maps[:, ~later.visible] == 0).all()
    dropped = passes[0].visible & ~passes[1].visible
    salient = passes[0].maps.sum(0)
    assert salient[dropped].min() >= salient[passes[1].visible].max()


def test_drop_patches_and_the_end_of_patches():
    assert [int(p.visible.sum()) for p in passes_of(drop_patches=60)] == [144, 84, 24]


class Watching(FakeVLM):
    """Keeps what it was asked to encode."""

    def __init__(self, **options):
        super().__init__(**options)
        self.seen = []

    def encode(self, pixels, visible=None):
        self.seen.append((pixels, visible))
        return super().encode(pixels, visible)


@pytest.mark.parametrize(("hole", "value"), [("black", 0.0), ("mean", 0.5)])
def test_holes_are_black_before_or_zero_after_normalisation(hole, value):
    vlm = Watching()
    passes = passes_of(vlm, hole=hole, drops=1)
    pixels, visible = vlm.seen[1]
    assert visible is None
    plain = pixels * 0.25 + 0.5
    hidden = ~passes[1].visible.repeat_interleave(8, 0).repeat_interleave(8, 1)
    near(plain[:, hidden], torch.full_like(plain[:, hidden], value))
    near(plain[:, ~hidden], to_pixels(two_squares(), (96, 96))[:, ~hidden])


def test_removed_tokens_leave_the_pixels_alone():
    vlm = Watching()
    passes = passes_of(vlm, hole="remove_tokens", drops=2)
    assert torch.equal(vlm.seen[2][0], vlm.seen[0][0])
    assert torch.equal(vlm.seen[2][1], passes[2].visible.flatten())
    assert (passes[2].maps[:, ~passes[2].visible] == 0).all()


def test_a_list_longer_than_the_text_encoder_gives_the_same_maps():
    names = ["red", "blue", "green", "yellow", "white"]
    whole = passes_of(FakeVLM(), names)
    chunked = passes_of(FakeVLM(max_tokens=7), names)
    for one, other in zip(whole, chunked, strict=True):
        near(one.maps, other.maps)
        assert torch.equal(one.visible, other.visible)


def test_without_gradients_every_patch_has_saliency():
    plain = passes_of(gradient="none", drops=0)[0].maps
    assert (plain > 0).all()
    weighted = passes_of(drops=0)[0].maps
    assert (weighted == 0).any()


def test_softmax_over_classes_sums_to_one():
    maps = passes_of(gradient="none", softmax_over_classes=True, drops=1)
    near(maps[0].maps.sum(0), torch.ones(12, 12))
    assert (maps[1].maps.sum(0)[~maps[1].visible] == 0).all()


@pytest.mark.parametrize("method", list_methods())
def test_every_method_segments(method):
    settings = resolve(None, method, layer=2, head=2, size_px=96, refine="none", refine_options={})
    image = two_squares()
    result = Segmenter(FakeVLM(), settings)(image, NAMES, keep=["red", "blue"])
    assert (result.labels[interior(image, RED)] == 1).mean() > 0.9
    assert (result.labels[interior(image, BLUE)] == 2).mean() > 0.9
    assert result.shares["green"] == 0


def test_large_photos_are_labelled_at_full_size():
    result = segment(two_squares(600, 800), output_px=200)
    assert result.labels.shape == (600, 800)
    assert result.scores.shape[1:] == (150, 200)


def test_aspect_ratio_can_be_kept():
    assert segment(keep_aspect=True).maps.shape[1:] == (12, 16)


def test_tiny_photos():
    for size in [(1, 1), (1, 50), (50, 1)]:
        assert segment(np.full((*size, 3), RED, np.uint8), ["red"]).labels.shape == size


def test_same_input_same_labels_and_the_callers_state_is_kept():
    image = two_squares()
    before = image.copy()
    segmenter = Segmenter(FakeVLM(), CONFIG)
    state = torch.random.get_rng_state()
    first, second = segmenter(image, NAMES), segmenter(image, NAMES)
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.scores, second.scores)
    assert torch.equal(state, torch.random.get_rng_state())
    np.testing.assert_array_equal(image, before)
    assert torch.is_grad_enabled()


def test_segment_many_is_lazy_and_survives_a_bad_file(tmp_path):
    good = tmp_path / "good.png"
    Image.fromarray(two_squares()).save(good)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    asked = []

    def photos():
        for path in (good, bad, good):
            asked.append(path)
            yield path

    results = Segmenter(FakeVLM(), CONFIG).segment_many(photos(), NAMES)
    assert asked == []
    assert next(results).shares["red"] > 0
    assert len(asked) == 1
    failed = next(results)
    assert isinstance(failed, PnPError)
    assert isinstance(failed, ImageError)
    assert next(results).image_name == "good.png"


def test_segment_many_takes_several():
    segmenter, scene = Segmenter(FakeVLM(), CONFIG), two_squares()
    for one in (
        "photo.jpg",
        Path("photo.jpg"),
        b"bytes",
        scene,
        scene[..., 0],
        torch.zeros(3, 8, 8),
        Image.new("L", (8, 8)),
    ):
        with pytest.raises(ImageError, match="several images are asked for, not one"):
            next(segmenter.segment_many(one, NAMES))
    for several in ([scene], scene[None], torch.zeros(1, 3, 96, 96), iter([scene])):
        assert len(list(segmenter.segment_many(several, NAMES))) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"layer": 9}, "layer 9"), ({"head": 5}, "head 5"), ({"refine": "magic"}, "magic")],
)
def test_impossible_settings_are_refused_at_once(settings, words):
    with pytest.raises(ConfigError) as caught:
        Segmenter(FakeVLM(), CONFIG.replace(**settings))
    assert words in str(caught.value)


def test_size_must_fit_the_patches():
    with pytest.raises(ConfigError, match="multiple of 8; use 96 or 104"):
        segment(size_px=100)


def test_bad_names_and_images():
    with pytest.raises(ClassNameError):
        segment(names=[])
    with pytest.raises(ImageError):
        segment(np.zeros((4, 4, 3)))


def test_plain_attention_is_zero_too_where_a_patch_was_dropped():
    later = passes_of(gradient="none", drops=1)[1]
    assert (later.maps[:, later.visible] > 0).any()
    assert (later.maps[:, ~later.visible] == 0).all()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_a_thousand_photos_do_not_grow():
    segmenter = Segmenter(FakeVLM(), SegmenterConfig(layer=2, head=2, size_px=96, refine="none"))
    rng = np.random.default_rng(0)

    def work(count):
        for _ in range(count):
            segmenter(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8), ["red", "blue"])
        return resident_gib(os.getpid())

    before = work(100)
    assert work(1000) - before < 0.05  # one photo's maps and scores are 0.1 MiB: 1,000 that were kept were 0.1 GiB


TWENTY = [f"red {number}" for number in range(20)]


def owner(array):
    """What holds the memory of an array, of which it may be a part."""
    return array if array.base is None else owner(array.base) if isinstance(array.base, np.ndarray) else array.base


def test_a_result_keeps_its_scores_in_half_the_memory():
    """Two bytes a pixel and channel, two of the label, three of the photo; nothing larger behind the arrays."""
    result = Segmenter(FakeVLM(), SegmenterConfig(layer=2, head=2, size_px=96, refine="none", policy="all"))(
        two_squares(480, 640), TWENTY
    )
    assert result.scores.shape == (21, 480, 640)
    kept = sum(owner(getattr(result, name)).nbytes for name in ("labels", "scores", "maps", "image"))
    assert kept <= (2 * 21 + 2 + 3) * 480 * 640 + 2**16


def test_scores_are_rounded_only_after_the_labels_are_decided():
    scores = torch.tensor([[[0.5, 1e6]], [[0.5 + 1e-5, 2e6]]])  # equal in 16 bits, and beyond their range
    assert argmax_labels(scores, (1, 2), (1, 2)).tolist() == [[2, 2]]
    kept = kept_scores(scores)
    assert kept.dtype == np.float16
    assert (kept[0] == kept[1]).all()
    assert np.isfinite(kept).all()
