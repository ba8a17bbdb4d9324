import numpy as np
import pytest

from pnp_ovss import Segmenter
from pnp_ovss.evaluation.ablation import AblationSystem, ablation_table
from pnp_ovss.evaluation.report import summarise
from pnp_ovss.evaluation.run import run
from pnp_ovss.evaluation.sensitivity import SensitivitySystem, sensitivity_table
from pnp_ovss.evaluation.systems import Query
from tests.near import same_labels
from tests.scenes import faint_objects

STEPS = [
    "attention",
    "attention, softmax over classes",
    "gradcam",
    "drop1",
    "drop2",
    "drop3",
    "drop4",
    "blur",
    "crf",
    "blur+crf",
]


@pytest.fixture
def query():
    return Query("scene", faint_objects(), (("red",), ("green",), ("blue",)), (1, 3))


def alone(segmenter, query, **changes):
    """Labels of one ordinary run of the whole method with some settings changed."""
    config = segmenter.config.replace(**changes)
    keep = [query.classes[label - 1][0] for label in query.present] if config.policy == "oracle" else None
    return Segmenter(segmenter.vlm, config)(query.image, query.classes, keep=keep, image_name=query.id).labels


@pytest.mark.parametrize("policy", ["itm", "oracle", "all"])
def test_each_step_equals_an_ordinary_run_with_those_settings(fake_system, query, policy):
    segmenter = fake_system(policy=policy, refine="densecrf").segmenter
    rows = AblationSystem(segmenter).answer(query)
    assert list(rows) == STEPS
    plain = {"blur": 0.0, "refine": "none"}
    ordinary = {
        "attention": {**plain, "gradient": "none", "drops": 0},
        "attention, softmax over classes": {**plain, "gradient": "none", "drops": 0, "softmax_over_classes": True},
        "gradcam": {**plain, "drops": 0},
        **{f"drop{drops}": {**plain, "drops": drops} for drops in range(1, 5)},
        "blur": {"refine": "none"},
        "crf": {"blur": 0.0},
        "blur+crf": {},
    }
    assert list(ordinary) == STEPS
    for name, changes in ordinary.items():
        same_labels(rows[name].labels, alone(segmenter, query, **changes))


def test_the_rows_of_our_own_steps_are_ordinary_runs_too(fake_system, query):
    ours = {"completion": "affinity", "competition": "equal_mass", "threshold": 0.3}
    segmenter = fake_system(policy="oracle", refine="densecrf", **ours).segmenter
    rows = AblationSystem(segmenter).answer(query)
    assert list(rows) == [*STEPS, "completion", "competition", "whole"]
    paper = {"completion": "none", "competition": "overlay"}
    ordinary = {
        "drop4": {**paper, "blur": 0.0, "refine": "none"},
        "blur+crf": paper,
        "completion": {"competition": "overlay", "refine": "none"},
        "competition": {"refine": "none"},
        "whole": {},
    }
    for name, changes in ordinary.items():
        same_labels(rows[name].labels, alone(segmenter, query, **changes))
    assert len({rows[name].labels.tobytes() for name in ("drop4", "competition", "whole")}) == 3


def test_the_image_is_encoded_once_a_pass(fake_system, query):
    segmenter = fake_system(policy="oracle").segmenter
    AblationSystem(segmenter).answer(query)
    assert segmenter.vlm.encoded == 5  # whole image and four dropouts; the attention rows share the first


def test_no_class_gives_background_everywhere(fake_system, query):
    segmenter = fake_system(policy="oracle").segmenter
    nothing = Query(query.id, query.image, query.classes, ())
    assert all(not row.labels.any() for row in AblationSystem(segmenter).answer(nothing).values())
    for stage in ("gradcam", "full"):
        rows = SensitivitySystem(segmenter, stage=stage).answer(nothing)
        assert all(not row.labels.any() for row in rows.values())


def test_the_table_stands_beside_the_papers(rectangles, fake_system, tmp_path):
    results = run(
        rectangles.subset(2),
        lambda: AblationSystem(fake_system(policy="oracle", refine="densecrf").segmenter),
        tmp_path / "r.jsonl",
    )
    table = ablation_table({name: summarise(results, name) for name in results.variants})
    assert [row[0] for row in table.rows][2:] == [
        "+ GradCAM",
        "+ Drop 1",
        "+ Drop 2",
        "+ Drop 3",
        "+ Drop 4",
        "+ Drop 4 + Blur",
        "+ Drop 4 + CRF",
        "+ Drop 4 + Blur + CRF",
    ]
    assert table.rows[0][2:] == ("19.8", "14.5")
    assert table.rows[-1][2:] == ("42.8", "32.5")
    assert any("BLIP-Flickr, 768 px, policy oracle" in note for note in table.notes)


@pytest.mark.parametrize("stage", ["gradcam", "full"])
def test_every_layer_and_head_equals_an_ordinary_run(fake_system, query, stage):
    segmenter = fake_system(policy="oracle").segmenter
    system = SensitivitySystem(segmenter, stage=stage)
    rows = system.answer(query)
    assert list(rows) == ["1/mean", "2/mean", "3/mean", "2/1", "2/2", "2/3", "2/4"]
    drops = {"drops": 0} if stage == "gradcam" else {}
    assert not np.array_equal(rows["2/2"].labels, alone(segmenter, query, drops=4 if drops else 0))
    for name, (layer, head) in system.variants.items():
        expected = alone(segmenter, query, layer=layer, head=head, **drops)
        same_labels(rows[name].labels, expected)


@pytest.mark.parametrize("settings", [{"normalise": "global"}, {"softmax_over_classes": True, "gradient": "none"}])
def test_the_cheap_stage_normalises_and_competes_as_configured(fake_system, query, settings):
    segmenter = fake_system(policy="all", threshold=0.4, **settings).segmenter
    system = SensitivitySystem(segmenter)
    rows = system.answer(query)
    for name, (layer, head) in system.variants.items():
        same_labels(rows[name].labels, alone(segmenter, query, layer=layer, head=head, drops=0))


def test_the_cheap_stage_encodes_the_image_once(fake_system, query):
    segmenter = fake_system(policy="oracle").segmenter
    SensitivitySystem(segmenter, every_head=True).answer(query)
    assert segmenter.vlm.encoded == 1
    assert len(SensitivitySystem(segmenter, every_head=True).variants) == 3 + 3 * 4


def test_the_signal_head_is_the_best(rectangles, fake_system, tmp_path):
    make = lambda: SensitivitySystem(fake_system(policy="oracle").segmenter)  # noqa: E731
    results = run(rectangles.subset(4), make, tmp_path / "r.jsonl")
    reports = {name: summarise(results, name) for name in results.variants}
    assert max(reports, key=lambda name: reports[name].miou) in ("2/2", "2/mean")
    table = sensitivity_table(reports, "gradcam")
    assert table.rows[0] == ("1", "mean", table.rows[0][2], "11.6")
    assert table.notes[0] == "stage gradcam: the first pass only, no dropout"
