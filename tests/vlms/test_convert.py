"""Original checkpoints: every key has its place, the numbers stay, and nothing else is accepted."""

import argparse
import pickle

import pytest
import torch

from pnp_ovss.errors import ModelError
from pnp_ovss.vlms.checkpoints.convert import FAMILIES, check_fit, convert_file, read_checkpoint
from pnp_ovss.vlms.checkpoints.loading import find_preset, load_vlm
from tests.vlms import originals
from tests.vlms.original_forward import original_logits
from tests.vlms.originals import Sizes

FULL = {
    "albef": Sizes(768, 12, 768, 12, 6, 16, 16, 30522, 512, 256),
    "mplug": Sizes(1024, 24, 768, 12, 6, 14, 24, 30522, 512, 256),
    "blip": Sizes(1024, 24, 768, 12, 0, 16, 24, 30524, 512, 256),
}
SMALL = {"albef": Sizes(), "mplug": Sizes(), "blip": Sizes(vocabulary=30524, text_only=0, text_depth=3)}


def shapes(family, sizes, pretrained=False):
    if family == "blip":
        return originals.blip_shapes(sizes)
    builder = originals.albef_shapes if family == "albef" else originals.mplug_shapes
    return builder(sizes, pretrained)


@pytest.mark.parametrize(("family", "pretrained"), [("albef", True), ("mplug", True), ("blip", False)])
def test_full_list_of_keys_and_shapes_at_published_size(family, pretrained):
    state = {n: torch.empty(s, device="meta") for n, s in shapes(family, FULL[family], pretrained).items()}

    converted = FAMILIES[family](state)

    check_fit(converted, family)  # raises unless names and shapes are exactly the model's
    text = converted.config.get("blip", converted.config).get("text_config") or converted.config["text"]
    assert text["num_attention_heads"] == 12
    assert converted.config["model_type"] == family
    assert converted.config.get("first_cross_layer", 1) == (1 if family == "blip" else 7)


def test_mplug_base_has_no_projection():
    state = {n: torch.empty(s, device="meta") for n, s in shapes("mplug", Sizes(768, 12, 768, 12, 6, 16)).items()}

    check_fit(FAMILIES["mplug"](state), "mplug-base")


@pytest.mark.parametrize(("family", "wrapper"), [("albef", "model"), ("mplug", "module"), ("blip", None)])
def test_file_to_logits(family, wrapper, tmp_path, vocabulary):
    state = originals.random_state(shapes(family, SMALL[family]))
    path = tmp_path / "checkpoint.pth"
    torch.save({wrapper: state, "config": argparse.Namespace(lr=1.0), "epoch": 3} if wrapper else state, path)

    folder = convert_file(path, family, tmp_path / "out", tokenizer=vocabulary)

    assert sorted(f.name for f in folder.iterdir()) == ["config.json", "model.safetensors", "preset.toml", "vocab.txt"]
    vlm = load_vlm(find_preset(folder), device="cpu")
    assert type(vlm).__name__.lower() == f"{family}vlm"
    pixels = torch.randn(3, 24, 40, generator=torch.Generator().manual_seed(1))
    ids = [[30523 if family == "blip" else 2, 9, 20, 31, 3]]
    wanted, maps = original_logits(state, family, pixels, torch.tensor(ids))
    found = vlm.text.match(vlm.encode(pixels).tokens, torch.tensor(ids), torch.ones(1, 5, dtype=torch.bool))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert len(maps) == len(vlm.layers)


def test_pretrained_names_give_the_same_model(tmp_path, vocabulary):
    state = originals.random_state(shapes("mplug", SMALL["mplug"]))
    renamed = {
        n.replace("text_encoder.", "text_encoder.bert.").replace("fusion_encoder.", "fusion_encoder.fusion."): v
        for n, v in state.items()
    }

    plain, renamed = FAMILIES["mplug"](state), FAMILIES["mplug"](renamed)

    assert plain.config == renamed.config
    assert plain.weights.keys() == renamed.weights.keys()
    assert all(torch.equal(plain.weights[n], renamed.weights[n]) for n in plain.weights)


class Evil:
    def __reduce__(self):
        return (print, ("owned",))


def test_code_in_a_pickle_is_refused_unrun(tmp_path, capsys):
    path = tmp_path / "evil.pth"
    torch.save({"model": {"w": torch.ones(1)}, "config": Evil()}, path)

    with pytest.raises(ModelError, match=r"print.*not allowed") as error:
        read_checkpoint(path)

    assert "\n" not in str(error.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps({"a": 1})])
def test_other_files_are_refused_in_one_line(content, tmp_path):
    path = tmp_path / "file.pth"
    path.write_bytes(content)

    with pytest.raises(ModelError, match=r"file\.pth") as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)


def test_no_tensors_and_no_file(tmp_path):
    torch.save({"model": {"epoch": 3}}, tmp_path / "a.pth")
    with pytest.raises(ModelError, match="holds no tensors"):
        read_checkpoint(tmp_path / "a.pth")
    with pytest.raises(ModelError, match="cannot read"):
        read_checkpoint(tmp_path / "b.pth")


def test_missing_unknown_and_wrong_weights_are_named(tmp_path, vocabulary):
    state = originals.random_state(shapes("albef", SMALL["albef"]))
    path = tmp_path / "a.pth"
    name = "text_encoder.encoder.layer.2.crossattention.self.key.bias"

    def convert(changed, **options):
        torch.save({"model": changed}, path)
        return convert_file(path, "albef", tmp_path / "out", tokenizer=vocabulary, **options)

    with pytest.raises(ModelError, match=r"missing.*crossattention.self\.key\.bias"):
        convert({n: v for n, v in state.items() if n != name})
    with pytest.raises(ModelError, match=r"unknown.*--drop.*surprise"):
        convert({**state, "surprise.weight": torch.ones(1)})
    assert convert({**state, "surprise.weight": torch.ones(1)}, drop="^surprise").is_dir()
    with pytest.raises(ModelError, match="another shape"):
        convert({**state, name: torch.ones(3)})


def test_the_wrong_family_is_refused(tmp_path):
    torch.save({"model": originals.random_state(shapes("albef", SMALL["albef"]))}, tmp_path / "a.pth")

    for family in ("mplug", "blip"):
        with pytest.raises(ModelError, match=r"another family|not a checkpoint of"):
            convert_file(tmp_path / "a.pth", family, tmp_path / "out")
    with pytest.raises(ModelError, match="choose from albef, mplug, blip, hf"):
        convert_file(tmp_path / "a.pth", "clip", tmp_path / "out")


def test_vocabulary_is_found_beside_the_file_or_asked_for(tmp_path, vocabulary, monkeypatch):
    path = tmp_path / "ALBEF.pth"
    torch.save({"model": originals.random_state(shapes("albef", SMALL["albef"]))}, path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(ModelError, match=r"vocab\.txt.*--tokenizer"):
        convert_file(path, "albef", tmp_path / "out")
    with pytest.raises(ModelError, match=r"neither a vocab\.txt"):
        convert_file(path, "albef", tmp_path / "out", tokenizer=tmp_path / "nowhere")
    (tmp_path / "vocab.txt").write_text(vocabulary.read_text())
    assert (convert_file(path, "albef", tmp_path / "out") / "vocab.txt").is_file()


def test_converted_presets_carry_the_layer_of_their_family(tmp_path, vocabulary):
    path = tmp_path / "mscoco.pth"
    torch.save({"model": originals.random_state(shapes("albef", SMALL["albef"]))}, path)

    preset = find_preset(convert_file(path, "albef", tmp_path / "my-albef", tokenizer=vocabulary))

    assert (preset.name, preset.family, preset.settings["layer"]) == ("my-albef", "albef", 9)
    assert "COCO" in preset.title
