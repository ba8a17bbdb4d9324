"""The whole evaluation on 12 pictures whose answers are known in closed form or were looked at once.

Grey pictures with one or two coloured squares of 32 x 32 px in 64 x 96, the top four rows void; see conftest.py.
"""

import pytest

from pnp_ovss.baselines import AllBackground, TagsEverywhere
from pnp_ovss.evaluation.ablation import AblationSystem
from pnp_ovss.evaluation.report import summarise
from pnp_ovss.evaluation.run import run

SQUARE, FRAME = 32 * 32, 60 * 96
SQUARES = {"red": 6, "green": 3, "blue": 6, "yellow": 3}
GREY = 12 * FRAME - 18 * SQUARE


def test_all_background_in_closed_form(rectangles, tmp_path):
    report = summarise(run(rectangles, AllBackground, tmp_path / "r.jsonl"))
    share = GREY / (12 * FRAME)
    assert report.per_class["background"] == pytest.approx(share, abs=1e-6)
    assert report.miou == pytest.approx(share / 5, abs=1e-6)
    assert report.miou_without_background == 0
    assert report.pixel_accuracy == pytest.approx(share, abs=1e-6)
    assert report.presence["recall"] == 0


def test_tags_everywhere_in_closed_form(rectangles, tmp_path):
    """A lone class covers its whole picture; of a pair, in the vocabulary's order, each covers its half.

    Pictures 1, 5, 9 are green and blue, left and right as in the stripes; 3, 7, 11 yellow left and red right, against
    the order of the stripes: nothing is found there.
    """
    report = summarise(run(rectangles, TagsEverywhere, tmp_path / "r.jsonl"))
    half = FRAME / 2
    red = 3 * SQUARE / (3 * FRAME + 3 * half + 3 * SQUARE)  # alone in 0 4 8; missed and misplaced in 3 7 11
    green = 3 * SQUARE / (3 * half)
    blue = 6 * SQUARE / (3 * FRAME + 3 * half)
    assert report.per_class == {
        "background": 0,
        "red": pytest.approx(red, abs=1e-6),
        "green": pytest.approx(green, abs=1e-6),
        "blue": pytest.approx(blue, abs=1e-6),
        "yellow": 0,
    }


@pytest.mark.parametrize(
    ("policy", "refine", "miou", "micro_f1"),
    [
        ("itm", "none", 0.9796, 1),
        ("oracle", "none", 0.9796, 1),
        ("all", "none", 0.9796, 36 / 66),  # 18 classes are there, 48 are kept
        ("oracle", "densecrf", 1.0, 1),
    ],
)
def test_the_method(rectangles, fake_system, tmp_path, policy, refine, miou, micro_f1):
    report = summarise(run(rectangles, lambda: fake_system(policy=policy, refine=refine), tmp_path / "r.jsonl"))
    assert report.miou == pytest.approx(miou, abs=2e-3)
    assert report.presence["micro_f1"] == pytest.approx(micro_f1, abs=1e-3)


def test_the_ablation(rectangles, fake_system, tmp_path):
    results = run(rectangles, lambda: AblationSystem(fake_system(policy="oracle").segmenter), tmp_path / "r.jsonl")
    found = {name: summarise(results, name).miou for name in results.variants}
    sharp, blurred = pytest.approx(0.9864, abs=2e-3), pytest.approx(0.9796, abs=2e-3)
    flat = pytest.approx(0.4024, abs=2e-3)  # the softmax over a single class is 1 everywhere: no map
    assert found == {
        "attention": sharp,
        "attention, softmax over classes": flat,
        **dict.fromkeys(("gradcam", "drop1", "drop2", "drop3", "drop4", "crf"), sharp),
        **dict.fromkeys(("blur", "blur+crf"), blurred),
    }
