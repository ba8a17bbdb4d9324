"""The steps as values: what `prepare`, `look` and `label` hand on, and what `replace` keeps."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pnp_ovss import Segmenter
from pnp_ovss.errors import ConfigError
from pnp_ovss.policies import Choice
from pnp_ovss.testing.fake_vlm import FakeVLM
from tests.near import near, same_labels
from tests.scenes import two_squares
from tests.segmented import CONFIG, NAMES


@pytest.fixture
def segmenter():
    return Segmenter(FakeVLM(), CONFIG)


@pytest.fixture
def trace(segmenter):
    return segmenter.look(segmenter.prepare(two_squares(), NAMES))


def test_the_three_steps_are_the_call(segmenter, trace):
    result, alone = segmenter.label(trace), segmenter(two_squares(), NAMES)
    same_labels(result.labels, alone.labels)
    near(result.scores, alone.scores)
    assert list(result.seconds) == list(alone.seconds) == ["encode", "policy", "saliency", "labels", "refine"]
    assert result.provenance.passes == 5


def test_the_first_passes_are_a_run_with_fewer_drops(segmenter, trace):
    for count in range(1, 6):
        fewer = segmenter.replace(drops=count - 1)(two_squares(), NAMES)
        first = segmenter.label(trace.first(count))
        near(first.maps, fewer.maps)
        same_labels(first.labels, fewer.labels)
        assert first.provenance.passes == count


def test_labelling_again_encodes_nothing(segmenter, trace):
    before = segmenter.vlm.encoded
    for settings in ({"blur": 0.0}, {"threshold": 0.5}, {"refine": "pamr"}, {"background": 0.2}):
        segmenter.replace(**settings).label(trace)
    assert segmenter.vlm.encoded == before


def test_fewer_names_may_win_afterwards(segmenter, trace):
    assert segmenter.label(trace).kept == (1, 2)
    blue = segmenter.label(trace.keep(["BLUE", "zebra"]))
    assert blue.kept == (2,)
    assert set(np.unique(blue.labels)) == {0, 2}
    near(blue.maps, segmenter.label(trace).maps[1:])
    assert not segmenter.label(trace.keep([])).labels.any()


def test_look_refuses_what_was_prepared_otherwise(segmenter, trace):
    for settings, words in [
        ({"size_px": 48}, "size_px = 96, and this segmenter has 48"),
        ({"template": "{classes}"}, "template = 'A picture of {classes}'"),
        ({"match_threshold": 0.9}, "match_threshold = 0.5"),
    ]:
        for look in (segmenter.replace(**settings).look, segmenter.replace(**settings).look_all):
            with pytest.raises(ConfigError, match=words):
                look(trace.prepared)


def test_all_layers_and_heads_at_once_are_the_first_passes_of_each(segmenter, trace):
    found = segmenter.look_all(trace.prepared)
    assert list(found)[:6] == [(1, 1), (1, 2), (1, 3), (1, 4), (1, "mean"), (2, 1)]
    for (layer, head), first in found.items():
        alone = segmenter.replace(layer=layer, head=head, drops=0).look(trace.prepared)
        near(first.passes[0].maps, alone.passes[0].maps)
    nothing = segmenter.prepare(two_squares(), ["green"])
    assert {len(one.passes) for one in segmenter.look_all(nothing).values()} == {0}


class Mine:
    """A refiner, and a policy, that the configuration does not know."""

    name = "mine"

    def refine(self, image, scores, evidence=None):
        return scores

    def __call__(self, request):
        return Choice((0,), (0.5,) * len(request.classes))


def test_replace_keeps_the_objects_unless_a_setting_names_another():
    segmenter = Segmenter(FakeVLM(), CONFIG, refiner=Mine(), policy=Mine(), method="paper")
    same = segmenter.replace(blur=0.1, drops=1, match_threshold=0.2)
    assert (same.vlm, same.refiner, same.policy) == (segmenter.vlm, segmenter.refiner, segmenter.policy)
    assert (same.method, same.config.blur) == ("paper", 0.1)
    other = segmenter.replace(refine="pamr", policy="all")
    assert (other.refiner.name, other.policy.name, other.config.normalise) == ("pamr", "all", "global")
    assert segmenter.replace(policy="all", normalise="none").config.normalise == "none"
    result = same(two_squares(), NAMES)
    assert (result.provenance.policy, result.provenance.refiner, result.kept) == ("mine", "mine", (1,))


def test_replace_changes_the_rule_of_the_own_policy(segmenter):
    assert segmenter.replace(match_threshold=1.0)(two_squares(), NAMES).kept == ()
    assert segmenter.replace(match_top_k=1)(two_squares(), NAMES).kept == (1,)


def test_the_record_of_a_result_tells_runs_apart(segmenter):
    results = [other(two_squares(), NAMES).provenance for other in (segmenter, segmenter, segmenter.replace(blur=0.1))]
    digests = [made.digest() for made in results]
    assert digests[0] == digests[1] != digests[2]
    assert results[0].to_dict()["config"]["size_px"] == 96
    heavier = Segmenter(FakeVLM(), CONFIG)
    heavier.vlm.model.weight.data += 1
    assert heavier(two_squares(), NAMES).provenance.digest() != digests[0]


def test_with_its_mirror_image_a_photo_and_its_mirror_image_have_mirrored_labels():
    """Not so without: the fake model's maps are made unlike left and right by a column that it hardly sees."""

    class Lopsided(FakeVLM):
        def attend(self, image, prompt, *, layers, head, gradient):
            found = super().attend(image, prompt, layers=layers, head=head, gradient=gradient)
            dim = torch.linspace(1, 0.2, image.grid[1]).repeat(image.grid[0])
            return tuple(replace(one, probs=one.probs * dim) for one in found)

    photo = two_squares()
    turned = np.ascontiguousarray(photo[:, ::-1])
    for mirror, drops in [(False, 0), (True, 0), (True, 2)]:
        segmenter = Segmenter(Lopsided(), CONFIG.replace(mirror=mirror, drops=drops, threshold=0.5, accumulate="raw"))
        one, other = (segmenter.look(segmenter.prepare(image, NAMES)) for image in (photo, turned))
        maps, flipped = segmenter.sum_maps(one), segmenter.sum_maps(other).flip(-1)
        assert torch.allclose(maps, flipped, atol=1e-4) == mirror
        if mirror:
            plain = segmenter.replace(mirror=False)
            halves = [plain.sum_maps(plain.look(plain.prepare(image, NAMES))) for image in (photo, turned)]
            assert torch.allclose(maps, (halves[0] + halves[1].flip(-1)) / 2, atol=1e-4)
            near(segmenter.sum_maps(one.first(1)), segmenter.replace(drops=0).sum_maps(one.first(1)))
            assert one.first(1).mirrored is not None
            assert len(one.first(1).mirrored.passes) == 1
            assert len(segmenter.sum_maps(one.keep(["red"]))) == 1


def test_a_look_alike_is_not_among_what_was_found_and_says_so(segmenter):
    """Both words look at the red square; the surer one has it, and the other one's verdict is no "found"."""
    prepared = segmenter.prepare(two_squares(), ["red", "scarlet red"])
    trace = segmenter.look(replace(prepared, match_scores=(0.99, 0.7)))

    both, one = (segmenter.replace(look_alikes=most, match_threshold=0.5).label(trace) for most in (1.0, 0.4))

    assert both.kept == (1, 2)
    assert (one.kept, one.shares["scarlet red"]) == ((1,), 0)
    assert one.verdict("scarlet red") == "0.70, behind others (look_alikes, match_relative, match_top_k)"
    assert one.shares["red"] > 0.02


def test_look_alikes_are_told_before_completion():
    """Completed, all maps of this model are flat; before, red and blue look elsewhere, and scarlet looks where red does."""

    class Alike(FakeVLM):
        def patch_tokens(self, image):
            return torch.ones_like(super().patch_tokens(image))

    settings = {"completion": "affinity", "competition": "equal_mass", "accumulate": "raw", "look_alikes": 0.9}
    segmenter = Segmenter(Alike(), CONFIG.replace(**settings))
    prepared = segmenter.prepare(two_squares(), ["red", "scarlet red", "blue"])

    trace = segmenter.look(replace(prepared, match_scores=(0.7, 0.99, 0.9)))

    assert segmenter.label(trace).kept == (2, 3)
