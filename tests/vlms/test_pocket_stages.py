"""The stages of training/: what each takes over, hears and leaves behind."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pnp_ovss.vlms.encoders.pocket_model import PocketConfig, PocketModel


def test_a_student_learns_from_the_weights_it_began_with_and_both_views(training, tmp_path, monkeypatch):
    train = training("train")
    model = PocketModel(PocketConfig(vocabulary=50, width=32, layers=2, heads=2, feed_forward=64))
    began = model.itm_head.weight.clone()
    batch = SimpleNamespace(middle="mirrored", rows=[4])
    batches = SimpleNamespace(draw=lambda count, view: batch, features=lambda rows, view: (rows, view.name))
    run = train.Run(train.replace(train.STUDENT, steps=2), model, batches, tmp_path)
    run.step = 1  # whose view is the mirrored one
    with torch.no_grad():
        model.itm_head.weight.add_(1)
    heard = []

    def told_by(teacher, batch, views):
        heard.append((teacher.itm_head.weight.clone(), views))
        return "told"

    def losses(model, auxiliary, batch, *, told, **rest):
        heard.append(told)
        return {"match": model.itm_head.bias.sum()}

    monkeypatch.setattr(train, "told_by", told_by)
    monkeypatch.setattr(train, "losses", losses)
    run.advance()

    (weight, views), told = heard
    assert torch.equal(weight, began)
    assert views == (([4], "320"), "mirrored")
    assert told == "told"


def test_a_stage_takes_over_weights_at_another_scale_of_the_evidence(training, tmp_path):
    config = PocketConfig(vocabulary=50, width=32, layers=2, heads=2, feed_forward=64)
    before, after = PocketModel(config), PocketModel(config)
    torch.save({"model": before.state_dict(), "recipe": {"scale": 4.0}}, tmp_path / "checkpoint.pt")

    training("train").take_over(after, tmp_path / "checkpoint.pt", 8.0)

    old, new = (model.text_encoder.encoder.layer for model in (before, after))
    torch.testing.assert_close(new[0].crossattention.self.query.weight * 2, old[0].crossattention.self.query.weight)
    torch.testing.assert_close(new[1].crossattention.self.query.weight, old[1].crossattention.self.query.weight)
    torch.testing.assert_close(new[0].crossattention.self.key.weight, old[0].crossattention.self.key.weight)


def test_a_weights_file_is_a_students_checkpoint(training, tmp_path):
    train = training("train")
    model = PocketModel(PocketConfig(vocabulary=50, width=32, layers=2, heads=2, feed_forward=64))
    save_file({name: weight.half() for name, weight in model.state_dict().items()}, tmp_path / "pocket.safetensors")

    state = training("checkpoints").read_stage(tmp_path / "pocket.safetensors")

    assert state["recipe"]["scale"] == train.STUDENT.scale
    for name, weight in model.state_dict().items():
        assert state["model"][name].dtype == torch.float32
        torch.testing.assert_close(state["model"][name], weight, rtol=1e-3, atol=1e-6)


def test_the_file_is_the_mean_of_checkpoints(training, tmp_path):
    train = training("train")
    first, second = train.blank_model()[0], train.blank_model()[0]
    with torch.no_grad():
        first.itm_head.bias.fill_(1.0)
        second.itm_head.bias.fill_(3.0)
    for name, model in (("first", first), ("second", second)):
        torch.save({"model": model.state_dict(), "recipe": {"scale": 8.0}}, tmp_path / f"{name}.pt")

    for names, found in ((("first", "second"), 2.0), (("first", "second", "first", "first"), 1.5)):
        mean = train.average([tmp_path / f"{name}.pt" for name in names], tmp_path / "mean.pt")
        train.write_weights(mean, tmp_path / "pocket.safetensors")
        assert load_file(tmp_path / "pocket.safetensors")["itm_head.bias"].tolist() == [found, found]


class NoData:
    """What a run needs of its batches to be saved."""

    def randoms(self):
        return [np.random.default_rng(0)]


def test_a_run_goes_on_only_with_its_own_recipe(training, tmp_path):
    train = training("train")
    config = PocketConfig(vocabulary=50, width=32, layers=2, heads=2, feed_forward=64)
    saved = train.Run(train.WORDS, PocketModel(config), NoData(), tmp_path)
    saved.step = 7
    saved.save()

    again = train.Run(train.WORDS, PocketModel(config), NoData(), tmp_path)
    again.resume()
    assert again.step == 7
    for one, other in zip(saved.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(SystemExit, match="use another --work"):
        train.Run(train.replace(train.WORDS, seed=1), PocketModel(config), NoData(), tmp_path).resume()
