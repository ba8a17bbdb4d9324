"""Which classes are asked, which compete, and which may win, on a model whose answers are known."""

import numpy as np
import pytest
import torch

from pnp_ovss import Segmenter
from pnp_ovss.errors import ConfigError
from pnp_ovss.images import to_pixels
from pnp_ovss.policies import Choice
from pnp_ovss.testing.fake_vlm import FakeVLM
from tests.scenes import BLUE, two_squares
from tests.segmented import CONFIG, NAMES, interior, segment


def test_synonyms_are_one_class():
    result = segment(names=[("red", "blue"), "green"])
    assert result.class_names == ("red", "green")
    assert result.labels[interior(two_squares(), BLUE)].min() == 1
    assert result.maps.shape[0] == 1


@pytest.mark.parametrize(("prompted", "texts"), [("kept", {"A picture of blue"}), ("all", {"A picture of red blue"})])
def test_the_prompt_holds_the_kept_names_or_all(prompted, texts):
    asked = set()

    class Listening(FakeVLM):
        def attend(self, image, prompt, **options):
            asked.add(prompt.text)
            return super().attend(image, prompt, **options)

    settings = CONFIG.replace(policy="file", prompted=prompted)
    segmenter = Segmenter(Listening(), settings)
    result = segmenter(two_squares(), [("red",), ("blue",)], keep=["blue"])
    assert asked == texts
    assert result.kept == (2,)
    assert result.maps.shape[0] == 1
    assert set(np.unique(result.labels)) == {0, 2}
    asked.clear()
    assert not segmenter(two_squares(), [("red",), ("blue",)], keep=[]).labels.any()
    assert not asked


def test_with_all_names_prompted_the_dropout_sees_what_does_not_compete():
    """The patches of the red square go in the first drop although only blue competes."""
    image = two_squares()
    red = to_pixels(image, (12, 12))[0] > 0.9
    gone = {}
    for prompted in ("kept", "all"):
        segmenter = Segmenter(FakeVLM(), CONFIG.replace(prompted=prompted, drop_share=0.3))
        trace = segmenter.look(segmenter.prepare(image, ["red", "blue"], keep=["blue"]))
        assert segmenter.sum_maps(trace).shape[0] == 1
        gone[prompted] = float((~trace.passes[1].visible[red]).float().mean())
    assert gone["all"] > 0.9
    assert gone["kept"] < 0.7


def test_with_nothing_kept_every_way_of_thresholding_gives_background():
    for thresholding in ("binary", "soft"):
        for normalise in ("per_class", "global", "none"):
            settings = {"thresholding": thresholding, "normalise": normalise, "match_threshold": 1.0}
            assert not segment(names=["green"], **settings).labels.any()


def test_policy_all_lets_absent_classes_compete():
    result = segment(policy="all")
    assert result.kept == (1, 2, 3)
    assert result.match_scores == {"red": None, "blue": None, "green": None}


def test_no_class_kept():
    assert segment(names=["green", "yellow"]).labels.max() == 0
    best = segment(names=["green", "yellow"], empty="best", background="none")
    assert best.labels.min() > 0


def test_without_background_every_pixel_has_a_class():
    result = segment(background="none", threshold=1e9)
    assert set(np.unique(result.labels)) <= {1, 2}


@pytest.mark.parametrize(("policy", "written"), [("itm", "keep"), ("file", "file"), ("oracle", "oracle")])
def test_the_caller_says_which_names_may_win(policy, written):
    segmenter = Segmenter(FakeVLM(), CONFIG.replace(policy=policy))
    result = segmenter(two_squares(), NAMES, keep=["Blue", "zebra"])
    assert result.kept == (2,)
    assert result.provenance.policy == written
    assert set(result.match_scores.values()) == {None}


@pytest.mark.parametrize("policy", ["file", "oracle"])
def test_a_policy_of_lists_needs_its_list(policy):
    with pytest.raises(ConfigError, match=f"policy '{policy}' needs the names that may win"):
        Segmenter(FakeVLM(), CONFIG.replace(policy=policy))(two_squares(), NAMES)


def test_a_policy_object_stands_in():
    class Second:
        name = "second"

        def __call__(self, request):
            assert request.match(["red"])[0] > 0.9
            return Choice((1,), (None, 1.0, None))

    result = Segmenter(FakeVLM(), CONFIG, policy=Second())(two_squares(), NAMES)
    assert result.kept == (2,)
    assert result.provenance.policy == "second"


def test_a_refiner_leaves_each_class_its_core():
    class Eraser:
        name = "eraser"

        def refine(self, image, scores, evidence=None):
            return torch.cat([torch.ones_like(scores[:1]), torch.zeros_like(scores[1:])])

    shares = {}
    for core in (0.0, 0.3):
        found = Segmenter(FakeVLM(), CONFIG.replace(core_share=core), refiner=Eraser())(two_squares(), NAMES)
        shares[core] = found.shares["red"], found.shares["blue"]
    assert shares[0.0] == (0, 0)
    assert min(shares[0.3]) > 0.01


def test_a_refiner_sees_names_and_maps():
    class Looking:
        name = "looking"

        def refine(self, image, scores, evidence=None):
            self.evidence = evidence
            return scores

    refiner = Looking()
    found = Segmenter(FakeVLM(), CONFIG, refiner=refiner)(two_squares(), NAMES)
    assert refiner.evidence.names == ("", "red", "blue")
    assert not refiner.evidence.maps[0].any()
    assert np.array_equal(refiner.evidence.maps[1:].numpy(), found.maps)


def test_a_likelier_class_wins_more_where_presence_is_soft():
    class Unsure:
        name = "unsure"

        def __call__(self, request):
            return Choice((0, 1), (0.95, 0.55, None))

    config = CONFIG.replace(competition="equal_mass", background="none", share_blur=0.2)
    soft, hard = (
        Segmenter(FakeVLM(), config.replace(soft_presence=soft), policy=Unsure())(two_squares(), NAMES).shares["red"]
        for soft in (True, False)
    )
    assert soft > hard + 0.01
