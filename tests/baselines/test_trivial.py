import numpy as np
import pytest

from pnp_ovss.baselines import AllBackground, RandomLabels, TagsEverywhere, list_baselines, make_baseline
from pnp_ovss.errors import ConfigError, DatasetError, ModelError
from pnp_ovss.evaluation.systems import Query

CLASSES = (("cat",), ("dog",), ("sofa",))


@pytest.fixture
def query(noise):
    return Query("a", noise, CLASSES, (1, 3))


def test_all_background(query):
    answer = AllBackground().answer(query)[""]
    assert answer.labels.shape == (40, 60)
    assert not answer.labels.any()


def test_random_labels_are_even_and_repeatable(query):
    labels = RandomLabels().answer(query)[""].labels
    counts = np.bincount(labels.ravel(), minlength=4)
    assert (np.abs(counts / labels.size - 1 / 4) < 0.04).all()
    assert np.array_equal(RandomLabels().answer(query)[""].labels, labels)
    assert not np.array_equal(RandomLabels(seed=1).answer(query)[""].labels, labels)
    other = Query("b", query.image, CLASSES, ())
    assert not np.array_equal(RandomLabels().answer(other)[""].labels, labels)
    assert RandomLabels(background=False).answer(query)[""].labels.min() == 1


def test_tags_are_painted_in_equal_stripes(query):
    answer = TagsEverywhere().answer(query)[""]
    assert np.array_equal(answer.labels, np.repeat([1, 3], 30)[None].repeat(40, axis=0))
    assert answer.kept == (1, 3)
    assert TagsEverywhere().settings()["policy"] == "oracle"
    nothing = Query("a", query.image, CLASSES, ())
    assert not TagsEverywhere().answer(nothing)[""].labels.any()


def test_baselines_by_name(tmp_path):
    assert isinstance(make_baseline("background", background=True), AllBackground)
    assert make_baseline("random", background=False).settings()["background"] is False
    for bad in ("maskclap", "background:x", "reco", "cam"):
        with pytest.raises(ConfigError, match=r"unknown baseline .*choose from background, random"):
            make_baseline(bad, background=True)
    assert len(list_baselines()) == 7


def test_missing_weights_and_files_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    for name in (f"maskclip:{tmp_path}/empty", f"groupvit:{tmp_path}/empty"):
        with pytest.raises(ModelError, match=r"holds no \*\.safetensors"):
            make_baseline(name, background=True)
    with pytest.raises(DatasetError, match=r"cannot read .*none\.jsonl"):
        make_baseline(f"cam:{tmp_path}/none.jsonl", background=True)
