"""What a conversion leaves in its folder: whole, found again, and nothing of others touched."""

import json

import pytest
import torch
from safetensors.torch import load_file

from pnp_ovss.errors import ConfigError, ModelError, OutputError
from pnp_ovss.presets import get_preset
from pnp_ovss.vlms.checkpoints import convert
from pnp_ovss.vlms.checkpoints.convert import convert_file
from pnp_ovss.vlms.checkpoints.digests import damaged_files, is_made
from pnp_ovss.vlms.checkpoints.loading import find_weights


def test_a_killed_conversion_leaves_nothing_that_is_taken_for_a_model(tmp_path, monkeypatch):
    state = {"a": torch.ones(3)}
    torch.save(state, tmp_path / "pytorch_model.bin")
    folder = convert_file(tmp_path / "pytorch_model.bin", "hf", tmp_path / "out")
    assert is_made(folder)

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("pnp_ovss.vlms.checkpoints.convert._write_weights", killed)
    with pytest.raises(KeyboardInterrupt):
        convert_file(tmp_path / "pytorch_model.bin", "hf", folder)

    assert not is_made(folder)


def test_a_shortened_weights_file_is_not_taken_for_a_model(tmp_path):
    torch.save({"a": torch.ones(300)}, tmp_path / "pytorch_model.bin")
    folder = convert_file(tmp_path / "pytorch_model.bin", "hf", tmp_path / "out")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])

    assert not is_made(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin.index.json", "mine.index.json"])
def test_shards_are_read_together_and_lead_nowhere_else(tmp_path, name):
    torch.save({"a": torch.ones(1)}, tmp_path / "pytorch_model-1.bin")
    torch.save({"b": torch.ones(2)}, tmp_path / "pytorch_model-2.bin")
    index = tmp_path / name
    index.write_text(json.dumps({"weight_map": {"a": "pytorch_model-1.bin", "b": "pytorch_model-2.bin"}}))

    folder = convert_file(index, "hf", tmp_path / "out")

    assert {n: v.tolist() for n, v in load_file(folder / "model.safetensors").items()} == {"a": [1], "b": [1, 1]}
    index.write_text(json.dumps({"weight_map": {"a": "../secret.bin"}}))
    with pytest.raises(ModelError, match=r"only \.bin files beside it"):
        convert_file(index, "hf", tmp_path / "out")


def test_changed_weights_of_the_same_size_are_found_by_their_hash(tmp_path):
    torch.save({"a": torch.ones(300)}, tmp_path / "pytorch_model.bin")
    folder = convert_file(tmp_path / "pytorch_model.bin", "hf", tmp_path / "out")
    assert damaged_files(folder) == []
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\x01\x02\x03\x04")

    assert is_made(folder)
    assert damaged_files(folder) == [weights]


def test_what_a_killed_conversion_left_is_cleaned(tmp_path):
    torch.save({"a": torch.ones(3)}, tmp_path / "pytorch_model.bin")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".tmp-123-1-abcdef01").write_bytes(b"half")

    folder = convert_file(tmp_path / "pytorch_model.bin", "hf", tmp_path / "out")

    assert sorted(file.name for file in folder.iterdir()) == ["made.json", "model.safetensors"]


def test_a_vocabulary_gets_the_name_that_it_is_found_by(tmp_path, albef, vocabulary):
    mine = tmp_path / "bert-vocab.txt"
    mine.write_text(vocabulary.read_text())

    folder = convert_file(albef, "albef", tmp_path / "out", tokenizer=mine)

    assert (folder / "vocab.txt").read_text() == vocabulary.read_text()
    assert not (folder / mine.name).exists()
    for name, content in (("photo.jpg", b"\xff\xd8\xff\xe0"), ("words.txt", b"cat\ndog\n"), ("a.json", b"{}")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=rf"{name}.*(vocabulary of BERT's|no tokenizer)"):
            convert_file(albef, "albef", tmp_path / "other", tokenizer=tmp_path / name)
    assert not (tmp_path / "other").exists()


def test_a_conversion_replaces_what_conversions_made_and_nothing_else(tmp_path, albef, vocabulary):
    def again():
        return convert_file(albef, "albef", tmp_path / "out", tokenizer=vocabulary)

    assert again() == again()
    preset, tuned = tmp_path / "out" / "preset.toml", "# mine"
    preset.write_text(tuned)
    with pytest.raises(OutputError, match=r"preset\.toml is there and is not what the conversion would write"):
        again()
    assert preset.read_text() == tuned
    assert is_made(tmp_path / "out")
    preset.unlink()
    (tmp_path / "out" / "tokenizer.json").write_text("{}")  # would be read in place of vocab.txt
    with pytest.raises(OutputError, match=r"tokenizer\.json is there"):
        again()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_text("of something else")
        with pytest.raises(OutputError, match=rf"{name} is there"):
            convert_file(albef, "albef", tmp_path, tokenizer=vocabulary)
        assert (tmp_path / name).read_text() == "of something else"
        (tmp_path / name).unlink()


def test_a_conversion_that_was_broken_off_is_no_model_and_can_be_repeated(tmp_path, albef, vocabulary, monkeypatch):
    folder = convert_file(albef, "albef", tmp_path / "out", tokenizer=vocabulary)

    def killed(*_, **__):
        raise KeyboardInterrupt

    for step in ("_write_weights", "note_made"):
        with monkeypatch.context() as patch:
            patch.setattr(convert, step, killed)
            with pytest.raises(KeyboardInterrupt):
                convert_file(albef, "albef", folder, tokenizer=vocabulary)
        with pytest.raises(ModelError, match=r"is half made.*convert the checkpoint again"):
            find_weights(get_preset(folder))

    assert find_weights(get_preset(convert_file(albef, "albef", folder, tokenizer=vocabulary))) == folder


def test_what_hf_cannot_use_is_said(tmp_path, vocabulary):
    torch.save({"a": torch.ones(3)}, tmp_path / "pytorch_model.bin")

    with pytest.raises(ConfigError, match="with hf the tokenizer is taken from beside"):
        convert_file(tmp_path / "pytorch_model.bin", "hf", tmp_path / "out", tokenizer=vocabulary)
    with pytest.raises(ConfigError, match=r"drop = '\.' leaves no weight of .*pytorch_model\.bin"):
        convert_file(tmp_path / "pytorch_model.bin", "hf", tmp_path / "out", drop=".")
