"""Tuning end to end on a model of which one layer and head alone sees anything."""

import json
import tomllib

import numpy as np
import pytest
from PIL import Image

from pnp_ovss.config import SegmenterConfig
from pnp_ovss.errors import ConfigError
from pnp_ovss.presets import get_preset
from pnp_ovss.testing.fake_vlm import FAKE_PRESET, SIGNAL_HEAD, SIGNAL_LAYER, FakeVLM
from pnp_ovss.tuning.maps import MapStore, TaggedImage
from pnp_ovss.tuning.masks import GradcamMasks
from pnp_ovss.tuning.objective import Objective
from pnp_ovss.tuning.preset import write_preset
from pnp_ovss.tuning.reward import get_reward
from pnp_ovss.tuning.scorers import MatchScorer
from pnp_ovss.tuning.search import SearchPlan
from pnp_ovss.tuning.tune import TuneOptions, tune
from tests.commands import caller
from tests.scenes import two_squares

CONFIG = SegmenterConfig(layer=1, head=1, size_px=96, refine="none")


@pytest.fixture
def scenes(tmp_path):
    """Three photos: two of red and blue, mirrored, and one that is tagged red alone."""
    pictures = {"a": two_squares(), "b": np.ascontiguousarray(two_squares()[:, ::-1]), "c": two_squares(64, 64)}
    tags = {"a.png": ["red", "blue"], "b.png": ["red", "blue"], "c.png": ["red"]}
    for name, picture in pictures.items():
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    (tmp_path / "tags.json").write_text(json.dumps(tags))
    return tmp_path


@pytest.fixture
def store(scenes, tmp_path):
    tags = json.loads((scenes / "tags.json").read_text())
    images = [TaggedImage(scenes / name, tuple(names)) for name, names in tags.items()]
    return MapStore(FakeVLM(), images, CONFIG, tmp_path / "maps").build()


class CountingScorer(MatchScorer):
    pictures = 0

    def score(self, images, class_names):
        self.pictures += len(images)
        return super().score(images, class_names)


def objective(store, scorer=None):
    return Objective(store, GradcamMasks(store), scorer or MatchScorer(store.vlm, size_px=96), get_reward("paper"))


def test_the_seeing_head_earns_everything_and_a_blind_one_nothing(store):
    asked = objective(store)

    seeing = asked(CONFIG.replace(layer=SIGNAL_LAYER, head=SIGNAL_HEAD, threshold=0.45))
    blind = asked(CONFIG)

    assert (seeing.reward, seeing.total, seeing.empty) == (1.0, 4.0, 0.0)
    assert (blind.reward, blind.total, blind.empty, blind.area) == (0.0, 0.0, 1.0, 0.0)
    assert seeing.margin == pytest.approx(0.5, abs=1e-3), "from 1/2 under black to 1 under the mask"


def test_single_class_photos_are_counted_and_left_out(store):
    asked = objective(store)

    assert (asked.counted, asked.left_out) == ((0, 1), 1)


def test_against_the_vocabulary_single_class_photos_count(store):
    masks, scorer = GradcamMasks(store), MatchScorer(store.vlm, size_px=96)
    asked = Objective(store, masks, scorer, get_reward("vocabulary"))

    assert (asked.counted, asked.left_out) == ((0, 1, 2), 0)
    assert asked(CONFIG.replace(layer=SIGNAL_LAYER, head=SIGNAL_HEAD, threshold=0.45)).total == 5.0


def test_nothing_to_earn_is_an_error(store):
    single = MapStore(store.vlm, store.images[2:], CONFIG, store.folder)

    with pytest.raises(ConfigError, match="no image of 1 can earn a reward 'paper'"):
        objective(single)


def test_equal_masks_are_scored_once(store):
    scorer = CountingScorer(store.vlm, size_px=96)
    asked = objective(store, scorer)

    for head in (1, 3, 4):  # all blind: black pictures only
        asked(CONFIG.replace(head=head))
    assert scorer.pictures == asked.effort.scored == 2, "one black picture for each photo"
    assert asked.effort.asked == 12
    asked(CONFIG.replace(layer=SIGNAL_LAYER, head=SIGNAL_HEAD))
    asked(CONFIG.replace(layer=SIGNAL_LAYER, head=SIGNAL_HEAD))
    assert scorer.pictures == 6


def test_tuning_finds_the_seeing_head_and_encodes_each_photo_once(store):
    before = store.vlm.encoded
    scorer = MatchScorer(FakeVLM(), size_px=96)

    found = tune(store, scorer, TuneOptions(plan=SearchPlan(sampler="grid"), blurs=()))

    assert (found.settings["layer"], found.settings["head"]) == (SIGNAL_LAYER, SIGNAL_HEAD)
    assert len(found.trials) == 3 * 4 * 5
    assert (found.counted, found.left_out) == (2, 1)
    assert store.vlm.encoded == before


def test_the_blur_is_tuned_with_the_others_fixed(store):
    found = tune(store, MatchScorer(FakeVLM(), size_px=96), TuneOptions(plan=SearchPlan(sampler="grid")))

    assert [t.point["blur"] for t in found.blur_trials] == [0.01, 0.03, 0.05, 0.07, 0.09, 0.11]
    rewards = {t.point["blur"]: t.outcome.reward for t in found.blur_trials}
    assert rewards[found.settings["blur"]] == max(rewards.values())


@pytest.fixture
def run(monkeypatch, capsys, scenes):
    """run(*arguments) -> (exit code, output, errors) of `tune` with the fake model, whose preset knows another layer."""
    text = FAKE_PRESET.read_text("utf-8")
    (scenes / "blind.toml").write_text(text.replace("layer = 2", "layer = 1").replace("head = 2", "head = 1"), "utf-8")
    call = caller(monkeypatch, capsys)
    return lambda *arguments: call("tune", *arguments, "--model", scenes / "blind.toml")


def test_the_command_writes_a_preset_that_loads(run, scenes):
    out = scenes / "tuned.toml"

    code, text, _ = run(
        scenes, "--tags", scenes / "tags.json", "--sampler", "grid",
        "--scorer-size", 96, "--set", "drops=1", "--set", "hole=mean", "--out", out,
    )  # fmt: skip

    assert code == 0
    assert "2 images counted, 1 left out" in " ".join(text.split())
    preset = get_preset(out)
    assert (preset.settings["layer"], preset.settings["head"], preset.settings["size_px"]) == (2, 2, 96)
    assert (preset.settings["drops"], preset.settings["hole"]) == (1, "mean")  # what the others were tuned under
    assert preset.family == "fake"
    found = tomllib.loads(out.read_text())["evidence"]
    assert found["files"] == ["a.png", "b.png", "c.png"]
    assert len(found["reward_table"]) == 60
    assert found["reward_table"][0]["reward"] == found["best_reward"] == 1.0
    with Image.open(out.with_suffix(".png")) as plot:
        assert plot.size[0] > 800


def test_the_command_resumes_and_refuses_to_start_over(run, scenes):
    arguments = (scenes, "--tags", scenes / "tags.json", "--scorer-size", 96,
                 "--no-blur", "--out", scenes / "tuned.toml")  # fmt: skip
    assert run(*arguments, "--trials", 3)[0] == 0

    code, _, errors = run(*arguments, "--trials", 5)
    assert code == 2
    assert "--resume" in errors
    assert run(*arguments, "--trials", 5, "--resume")[0] == 0
    assert len(tomllib.loads((scenes / "tuned.toml").read_text())["evidence"]["reward_table"]) == 15


@pytest.mark.parametrize("name", ["tags.txt", "TAGS.JSON"])
def test_tags_are_a_file_whatever_it_is_called(run, scenes, name):
    """Not the name of a data set."""
    (scenes / name).write_text("red, blue")
    code, _, err = run(scenes, "--tags", scenes / name, "--out", scenes / "t.toml")
    assert code == 2
    assert f"{name} is not JSON" in err


def test_a_bank_of_ones_own_is_found_from_other_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.safetensors").write_bytes(b"")
    (tmp_path / "pocket").write_bytes(b"")  # of the built-in bank's name
    for bank, written in (("mine.safetensors", str(tmp_path / "mine.safetensors")), ("pocket", "pocket"), ("", "")):
        write_preset(tmp_path / "t.toml", get_preset(FAKE_PRESET), {"bank": bank}, {"date": "today", "source": "tags"})
        assert get_preset(tmp_path / "t.toml").settings["bank"] == written


@pytest.mark.parametrize("name", ["tuned", "tuned.png", "tuned.journal"])
def test_a_preset_that_no_model_could_be_named_by_is_refused(run, scenes, name):
    """The plot and the journal have these endings; without one --model takes it for a name."""
    code, _, err = run(scenes, "--tags", scenes / "tags.json", "--out", scenes / name)
    assert code == 2
    assert f"{name} would be no preset for --model: choose another --out, a name that ends in .toml" in err


@pytest.mark.parametrize("options", [[], ["--presence"]])
def test_photos_that_cannot_be_read_are_told_before_the_model_works(run, scenes, monkeypatch, options):
    for name in ("b.png", "c.png"):
        (scenes / name).write_bytes(b"no picture")
    monkeypatch.setattr(FakeVLM, "encode", lambda *_: pytest.fail("the model was asked"))
    code, _, err = run(scenes, "--tags", scenes / "tags.json", "--out", scenes / "t.toml", *options)
    assert code == 2
    assert "b.png is not an image" in err
    assert "(and 1 other photo), or leave it out of the tags" in err


def test_other_photos_of_the_same_names_are_not_resumed(run, scenes):
    arguments = (scenes, "--tags", scenes / "tags.json", "--scorer-size", 96,
                 "--no-blur", "--shards", 1, "--trials", 2, "--out", scenes / "tuned.toml")  # fmt: skip
    assert run(*arguments)[0] == 0
    Image.fromarray(two_squares(64, 80)).save(scenes / "b.png")

    code, _, errors = run(*arguments, "--resume")

    assert code == 2
    assert "belongs to another search: images.2:b.png.content " in errors
    assert len(errors.strip().splitlines()) == 1


def test_presence_is_all_that_is_read_of_a_data_set(data_root):
    from pnp_ovss.datasets import open_dataset
    from pnp_ovss.tuning.tags import dataset_tags

    found = dataset_tags(open_dataset("voc", data_root / "voc", split="train"))

    assert len(found) == 116
    assert sum(len(image.class_names) == 1 for image in found) == 49
    assert all(set(vars(image)) == {"path", "class_names"} for image in found)
