"""BLIP beyond the contract: many classes, wrong checkpoints, and the way from a folder to masks."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from pnp_ovss import Segmenter
from pnp_ovss.errors import ModelError
from pnp_ovss.model_check import check_model
from pnp_ovss.presets import get_preset
from pnp_ovss.prompt import build_prompts
from pnp_ovss.testing.small_models import small_blip
from pnp_ovss.vlms.blip import ENC_TOKEN, BlipVLM
from pnp_ovss.vlms.checkpoints.loading import load_vlm
from pnp_ovss.vlms.encoders.wordpiece import WordPieceTokenizer
from tests.near import near, same_labels

SETTINGS = {"layer": 1, "head": "mean", "size_px": 32, "refine": "none", "policy": "all", "drops": 1, "device": "cpu"}


CHECKED = {"device": "cpu", "layer": 1, "size_px": 32, "head": "mean"}
PHOTO = np.random.default_rng(0).integers(0, 255, (24, 30, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, vocabulary: Path) -> Path:
    """A checkpoint folder as `save_pretrained` writes it."""
    path = tmp_path_factory.mktemp("blip-small")
    small_blip().save_pretrained(path)
    shutil.copy(vocabulary, path / "vocab.txt")
    (path / "preset.toml").write_text('[model]\nfamily = "blip"\n')
    return path


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """The folder, to be damaged."""
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


def edit_config(folder: Path, **changes) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"].update(changes)
    (folder / "config.json").write_text(json.dumps(config))


def test_171_classes_in_chunks(vocabulary):
    vlm = BlipVLM(small_blip(), WordPieceTokenizer.from_vocabulary(vocabulary, first_token=ENC_TOKEN))
    words = ["cat", "dog", "tree", "grass", "person", "bus", "car", "boat", "bottle"]
    names = [f"{a} {b} {c}" for a in words for b in words for c in words[:3]][:171]

    prompts = build_prompts(names, "A picture of {classes}", vlm.tokenize, vlm.max_tokens)

    assert sum(len(p.class_names) for p in prompts) == 171
    image = vlm.encode(torch.randn(3, 16, 24))
    assert vlm.match(image, prompts).shape == (len(prompts), 2)
    for prompt in prompts:
        assert prompt.token_ids[0] == ENC_TOKEN
        found = vlm.attend(image, prompt, layers=(2,), head=1, gradient="match_logit")[0]
        assert found.probs.shape == (1, len(prompt.token_ids), 6)


def test_folder_file_and_preset_give_the_same_masks(folder, tmp_path):
    photo = np.random.default_rng(0).integers(0, 255, (24, 30, 3), dtype=np.uint8)
    preset = tmp_path / "mine.toml"
    preset.write_text(f'[model]\nfamily = "blip"\npath = "{folder.as_posix()}"\n[settings]\nlayer = 1\n')

    results = [
        Segmenter.from_pretrained(model, **SETTINGS)(photo, ["cat", "dog"])
        for model in (folder, folder / "model.safetensors", str(preset))
    ]

    assert results[0].labels.shape == (24, 30)
    for other in results[1:]:
        same_labels(other.labels, results[0].labels)
        near(other.maps / other.maps.max(), results[0].maps / results[0].maps.max())


def test_loaded_equals_saved(folder, vocabulary):
    loaded = load_vlm(get_preset(folder), device="cpu")
    made = BlipVLM(small_blip(), WordPieceTokenizer.from_vocabulary(vocabulary, first_token=ENC_TOKEN))
    pixels, prompt = torch.randn(3, 24, 16), build_prompts(["cat"], "{classes}", made.tokenize, 64)[0]

    found = [vlm.match(vlm.encode(pixels), [prompt]) for vlm in (loaded, made)]

    weights = [vlm.model.state_dict() for vlm in (loaded, made)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    near(found[0], found[1])
    assert not any(p.requires_grad for p in loaded.model.parameters())
    assert not loaded.model.training


def test_missing_weights_are_an_error(copy):
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    del weights["itm_head.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ModelError, match=r"1 weights are missing \(itm_head.weight"):
        load_vlm(get_preset(copy), device="cpu")


def test_damaged_weights_are_one_line(copy):
    (copy / "model.safetensors").write_bytes(b"\x00" * 100)

    with pytest.raises(ModelError, match="its files do not make a model") as error:
        load_vlm(get_preset(copy), device="cpu")
    assert "\n" not in str(error.value)


def test_wrong_vocabulary_is_an_error(copy):
    small_blip(vocabulary=30522).save_pretrained(copy)

    with pytest.raises(ModelError, match="vocabulary has 30522 entries, not 30524"):
        load_vlm(get_preset(copy), device="cpu")


def test_wrong_head_count_is_an_error(vocabulary):
    from transformers import BlipConfig, BlipForImageTextRetrieval

    text = {"hidden_size": 512, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 4}
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = BlipConfig(
        text_config={**text, "encoder_hidden_size": 8, "is_decoder": True},
        vision_config={**small, "patch_size": 8, "image_size": 16},
    )
    with pytest.raises(ModelError, match=r"num_attention_heads is 4 for width 512; the checkpoint has 8"):
        BlipVLM(BlipForImageTextRetrieval(config), WordPieceTokenizer.from_vocabulary(vocabulary))


def test_no_tokenizer_no_config_other_type(copy):
    (copy / "vocab.txt").unlink()
    with pytest.raises(ModelError, match=r"tokenizer\.json nor vocab\.txt"):
        load_vlm(get_preset(copy), device="cpu")
    edit_config(copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "model_type": "llama"}))
    (copy / "preset.toml").unlink()
    with pytest.raises(ModelError, match="model_type 'llama' has no adapter"):
        get_preset(copy)
    (copy / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json"):
        load_vlm(get_preset(copy), device="cpu")


def test_check_passes_on_a_good_model_and_reports(folder):
    found = check_model(get_preset(folder), photo=PHOTO, names=["cat", "dog"], **CHECKED)

    assert (found.heads, found.layers, found.grid) == (3, (1, 2, 3), (4, 4))
    assert set(found.seconds) == {"load", "encode", "match", "attend"}
    assert all(0 <= p <= 1 for p in found.match.values())
    assert found.peak_mb > 100


def test_check_refuses_what_the_preset_does_not_say(folder, tmp_path):
    def preset(**stated):
        lines = "".join(f"{k} = {json.dumps(v)}\n" for k, v in stated.items())
        path = tmp_path / "p.toml"
        path.write_text(f'[model]\nfamily = "blip"\npath = "{folder.as_posix()}"\n{lines}[settings]\nlayer = 1\n')
        return get_preset(path)

    for stated, message in (
        ({"heads": 12}, "has 3 heads a layer, the preset says 12"),
        ({"layers": "1-12"}, "the preset says 1-12"),
        ({"parameters_m": 446}, "the preset says 446: this is another model"),
    ):
        with pytest.raises(ModelError, match=message):
            check_model(preset(**stated), **CHECKED)


def test_check_refuses_a_vocabulary_that_is_not_read(copy):
    (copy / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"]) + "\n")

    with pytest.raises(ModelError, match="different words have the same tokens"):
        check_model(get_preset(copy), **CHECKED)


def test_check_names_the_last_layer_which_reads_no_class_token(folder):
    """In the last layer only position 0 reaches the match: every class token's gradient is zero."""
    vlm = load_vlm(get_preset(folder), device="cpu")
    prompt = build_prompts(["cat"], "A picture of {classes}", vlm.tokenize, 64)[0]

    found = vlm.attend(vlm.encode(torch.randn(3, 32, 32)), prompt, layers=(3,), head="mean", gradient="match_logit")[0]

    assert found.grad is not None
    assert not bool(found.grad[:, 1:].any())
    assert bool(found.grad[:, 0].any())
