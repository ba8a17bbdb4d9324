"""The benchmark that asks whether the reward finds the best head, on colours, where the answer is known."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pnp_ovss.config import SegmenterConfig
from pnp_ovss.datasets import Dataset, Sample, Vocabulary
from pnp_ovss.testing.fake_vlm import SIGNAL_HEAD, SIGNAL_LAYER, FakeVLM
from pnp_ovss.tuning.maps import MapStore
from pnp_ovss.tuning.masks import GradcamMasks
from pnp_ovss.tuning.objective import Objective
from pnp_ovss.tuning.scorers import MatchScorer
from pnp_ovss.tuning.tags import dataset_tags
from tests.scenes import two_squares

CONFIG = SegmenterConfig(layer=1, head=1, size_px=96, refine="none", threshold=0.45, blur=0.01)
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def labels():
    picture = two_squares()
    red, blue = (np.all(picture == colour, axis=2) for colour in ((255, 0, 0), (0, 0, 255)))
    return np.where(red, 1, np.where(blue, 2, 0)).astype(np.int32)


@pytest.fixture
def colours(tmp_path):
    for name in "ab":
        Image.fromarray(two_squares()).save(tmp_path / f"{name}.png")
    samples = tuple(Sample(name, tmp_path / f"{name}.png", labels) for name in "ab")
    return Dataset("colours", Vocabulary("colours", (("red",), ("blue",))), True, samples)


def test_the_reward_and_the_truth_agree_on_the_seeing_head(colours, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import tuning_compare
    import tuning_truth

    vlm = FakeVLM()
    store = tuning_truth.built(MapStore(vlm, dataset_tags(colours), CONFIG, tmp_path / "train"))
    objective = Objective(store, GradcamMasks(store), MatchScorer(vlm, size_px=96), tuning_truth.EVERYTHING)
    truth = tuning_truth.Truth(vlm, colours, CONFIG, tmp_path / "val")
    points = [(layer, head, 0.45) for layer in (1, 2) for head in (1, 2, 3)]
    rewards, counts = {}, {}
    for point in points:
        config = tuning_truth.at(CONFIG, point)
        rewards[point] = tuning_truth.cached(
            tmp_path / f"{point}.json", lambda c=config: tuning_truth.rewards_of(objective, c)
        )
        rows = json.loads(json.dumps(truth.counts(config)))
        counts[point] = [tuning_truth.ImageCounts.from_json(row, 3) for row in rows]

    result = tuning_compare.compare(points, rewards, counts)

    for choice in result["choices"].values():
        assert (choice["layer"], choice["head"], choice["rank"]) == (SIGNAL_LAYER, SIGNAL_HEAD, 1)
        assert choice["spearman"] == 1.0
        assert choice["behind_best"] == [0.0, 0.0, 0.0]
    assert result["miou"]["best"] > 0.6 > 0.4 > result["miou"]["worst"]
    tuning_compare.plot(result, tmp_path / "plot.png")
    tuning_compare.print_result(result)
    assert "paper" in capsys.readouterr().out
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.width > 600
