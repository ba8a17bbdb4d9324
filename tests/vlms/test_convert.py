"""Original checkpoints: every key has its place, the numbers stay, and nothing else is accepted."""

import argparse
import pickle
import warnings
import zipfile

import pytest
import torch

from pnp_ovss.errors import ConfigError, ModelError
from pnp_ovss.presets import get_preset
from pnp_ovss.vlms.checkpoints.convert import FAMILIES, check_fit, convert_file
from pnp_ovss.vlms.checkpoints.loading import load_vlm
from pnp_ovss.vlms.checkpoints.pickles import read_checkpoint
from tests.near import near
from tests.vlms import originals
from tests.vlms.original_forward import original_logits
from tests.vlms.originals import SMALL, Sizes, shapes

FULL = {
    "albef": Sizes(768, 12, 768, 12, 6, 16, 16, 30522, 512, 256),
    "mplug": Sizes(1024, 24, 768, 12, 6, 14, 24, 30522, 512, 256),
    "blip": Sizes(1024, 24, 768, 12, 0, 16, 24, 30524, 512, 256),
}


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

    assert sorted(f.name for f in folder.iterdir()) == [
        "config.json",
        "made.json",
        "model.safetensors",
        "preset.toml",
        "vocab.txt",
    ]
    vlm = load_vlm(get_preset(folder), device="cpu")
    assert type(vlm).__name__.lower() == f"{family}vlm"
    pixels = torch.randn(3, 24, 40, generator=torch.Generator().manual_seed(1))
    ids = [[30523 if family == "blip" else 2, 9, 20, 31, 3]]
    wanted, maps = original_logits(state, family, pixels, torch.tensor(ids))
    found = vlm.text.match(vlm.encode(pixels).tokens, torch.tensor(ids), torch.ones(1, 5, dtype=torch.bool))
    near(found, wanted)
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
    with pytest.raises(ConfigError, match="choose from albef, mplug, blip, hf"):
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

    preset = get_preset(convert_file(path, "albef", tmp_path / "my-albef", tokenizer=vocabulary))

    assert (preset.name, preset.family, preset.settings["layer"]) == ("my-albef", "albef", 9)
    assert "COCO" in preset.title


def test_a_pattern_that_is_none_is_refused_before_reading(tmp_path):
    with pytest.raises(ConfigError, match=r"drop = '\(' is no regular expression"):
        convert_file(tmp_path / "no.pth", "albef", tmp_path / "out", drop="(")


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ({1: torch.ones(2)}, "named 1, not by a text"),
        ({"a": torch.ones(2, 2).to_sparse()}, "stored as torch.sparse_coo"),
        ({"a": torch.ones(2, device="meta")}, r"without numbers \(meta\)"),
        ({"a": torch.ones(1).expand(1000, 1000)}, "one number repeated"),
    ],
)
def test_tensors_of_another_kind_are_refused(tmp_path, weights, reason):
    torch.save({"model": {**weights, "b": torch.ones(1)}}, tmp_path / "a.pth")

    with pytest.raises(ModelError, match=reason):
        read_checkpoint(tmp_path / "a.pth")


def test_quantised_tensors_are_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch is about to drop them
        torch.save({"a": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}, tmp_path / "a.pth")
        with pytest.raises(ModelError, match="quantised"):
            read_checkpoint(tmp_path / "a.pth")


def test_a_zip_bomb_is_refused_unread(tmp_path, monkeypatch):
    torch.save({"a": torch.zeros(100_000)}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as plain, zipfile.ZipFile(tmp_path / "b.pth", "w") as packed:
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry), zipfile.ZIP_DEFLATED)
    monkeypatch.setattr("torch.load", lambda *_, **__: pytest.fail("it was read"))

    with pytest.raises(ModelError, match="is compressed, which torch never writes"):
        read_checkpoint(tmp_path / "b.pth")


def test_a_folder_half_a_file_and_a_page_are_told_apart(tmp_path, albef):
    (tmp_path / "half.pth").write_bytes(albef.read_bytes()[:5000])
    (tmp_path / "page.pth").write_text("<!DOCTYPE html><html></html>")
    for name, wanted in (
        (".", "it is a folder; name the file in it"),
        ("half.pth", "only a part of one: download it again"),
        ("page.pth", "not a checkpoint of torch.*download it again"),
    ):
        with pytest.raises(ModelError, match=wanted) as error:
            read_checkpoint(tmp_path / name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("text_encoder.embeddings.token_type_embeddings.weight", ()),
        ("text_encoder.embeddings.token_type_embeddings.weight", (2, 5)),
        ("text_encoder.embeddings.word_embeddings.weight", (7,)),
        ("text_encoder.embeddings.word_embeddings.weight", (0, 0)),
        ("visual_encoder.patch_embed.proj.weight", ()),
        ("visual_encoder.patch_embed.proj.weight", (65, 3, 8, 8)),
        ("visual_encoder.pos_embed", (5,)),
        ("vision_proj.weight", ()),
        ("text_encoder.encoder.layer.100000000.crossattention.self.key.weight", (3,)),
    ],
)
def test_shapes_of_no_model_are_refused_in_one_line(tmp_path, vocabulary, name, shape):
    state = originals.random_state(shapes("albef", SMALL["albef"]))
    torch.save({"model": {**state, name: torch.ones(shape)}}, tmp_path / "a.pth")

    with pytest.raises(ModelError, match=r"a\.pth") as error:
        convert_file(tmp_path / "a.pth", "albef", tmp_path / "out", tokenizer=vocabulary)

    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
