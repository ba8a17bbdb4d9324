"""A small random decoder from a hub on loopback: every command works with it as with any other model."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from pnp_ovss import Segmenter
from pnp_ovss.errors import ConfigError, ModelError
from pnp_ovss.export import read_run
from pnp_ovss.images import read_image
from pnp_ovss.model_check import check_model
from pnp_ovss.presets import QUESTION, get_preset
from pnp_ovss.prompt import build_prompt
from pnp_ovss.testing.small_decoders import chat_files, save_decoder, small_decoder
from pnp_ovss.vlms.checkpoints.loading import load_vlm, settle
from pnp_ovss.vlms.decoder import DecoderVLM
from pnp_ovss.vlms.decoder_files import load_decoder
from tests.commands import caller
from tests.evaluation.conftest import write_rectangles

HUB_ID = "someone/a-decoder"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """{file: content} of a small LLaVA as transformers writes it."""
    folder = save_decoder("llava", tmp_path_factory.mktemp("llava"))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def offline(hub, saved, monkeypatch, tmp_path):
    """HUB_ID is in the cache: the hub was asked once, then it is gone, for workers too."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.repositories = {HUB_ID: saved}
    settle(get_preset(HUB_ID))
    hub.repositories = {}


@pytest.fixture
def call(offline, monkeypatch, capsys):
    """call(command, ...) with --model HUB_ID."""
    entry = caller(monkeypatch, capsys)
    return lambda *arguments: entry(*arguments, "--model", HUB_ID, "--set", "refine=none")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    noise = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        Image.fromarray(noise.integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(folder / f"{name}.png")
    return folder


def test_a_decoder_of_the_hub_gets_a_middle_layer_and_a_question(hub, saved):
    hub.repositories = {HUB_ID: saved}

    preset = settle(get_preset(HUB_ID))

    assert preset.settings["layer"] == 2
    assert preset.settings["head"] == "mean"
    assert preset.settings["size_px"] == 32
    assert preset.settings["template"].startswith("Is there {classes}")
    assert load_vlm(preset, device="cpu").mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("kind", ["paligemma", "qwen3_vl"])
def test_a_word_table_for_both_ends_is_in_the_files_once(kind, tmp_path):
    """As in the checkpoints of their presets; a missing weight is refused, this one is not missing."""
    folder = save_decoder(kind, tmp_path, tied=True)
    with safe_open(folder / "model.safetensors", framework="np") as stored:
        assert not [name for name in stored.keys() if "lm_head" in name]  # noqa: SIM118
    loaded = load_decoder(get_preset(folder), folder)
    fresh = DecoderVLM(small_decoder(kind, tied=True), chat_files(kind))
    image, prompt = torch.ones(3, 16, 16), build_prompt(["cat"], QUESTION, fresh.tokenize)
    found, wanted = (vlm.match(vlm.encode(image), [prompt]) for vlm in (loaded, fresh))
    assert torch.allclose(found, wanted, atol=1e-4)
    assert float(wanted.abs().max()) > 1e-2


def without_its_name(saved):
    """The files of a decoder whose config.json does not say what it is."""
    config = json.loads(saved["config.json"])
    del config["architectures"]
    return {**saved, "config.json": json.dumps(config).encode()}


def test_family_decoder_reads_what_does_not_call_itself_one(hub, saved, tmp_path):
    hub.repositories = {HUB_ID: without_its_name(saved)}
    with pytest.raises(ModelError, match="no adapter with a preset"):
        settle(get_preset(HUB_ID))

    preset = settle(get_preset(f"decoder:{HUB_ID}"))

    assert (preset.family, preset.name, preset.settings["layer"]) == ("decoder", HUB_ID, 2)
    assert load_vlm(preset, device="cpu").name == HUB_ID
    folder = tmp_path / "local"
    folder.mkdir()
    for name, content in without_its_name(saved).items():
        (folder / name).write_bytes(content)
    local = settle(get_preset(f"decoder:{folder}"))
    assert (local.family, local.settings) == ("decoder", preset.settings)


def test_family_decoder_refuses_what_has_no_such_interface(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "blip", "vision_config": {"hidden_size": 8}}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"its config\.json has no text_config"):
        get_preset(f"decoder:{tmp_path}")
    with pytest.raises(ConfigError, match="of the family blip, not decoder"):
        get_preset("decoder:blip-large-flickr")
    assert get_preset("decoder:smolvlm-256m") == get_preset("smolvlm-256m")


def test_the_option(call, photos, tmp_path):
    done = call("segment", photos / "a.png", "--classes", "cat, dog", "--family", "decoder", "--out", tmp_path / "out")
    assert done[0] == 0, done
    code, _, error = call("segment", photos / "a.png", "--classes", "cat", "--family", "blip", "--out", tmp_path / "no")
    assert code == 2
    assert "only decoder can be asked for" in error


@pytest.fixture
def labels(offline, photos):
    """{photo's name: labels} of HUB_ID asked in Python: what every other way must give."""
    segmenter = Segmenter.from_pretrained(HUB_ID, refine="none", policy="all")
    found = {path.stem: segmenter(read_image(path), ["cat", "dog"]).labels for path in photos.iterdir()}
    assert all(len(np.unique(values)) > 1 for values in found.values())
    return found


def test_segment_and_explain(call, photos, labels, tmp_path):
    for command, more in (
        ("segment", ("--policy", "all", "--out", tmp_path / "seg")),
        ("explain", ("--out", tmp_path / "why")),
    ):
        code, _, error = call(command, photos / "a.png", "--classes", "cat, dog", *more)
        assert code == 0, error
    assert np.array_equal(np.asarray(Image.open(tmp_path / "seg" / "a.labels.png")), labels["a"])
    assert {f"a.{name}.stages.png" for name in ("01-cat", "02-dog")} <= {
        path.name for path in (tmp_path / "why").iterdir()
    }


@pytest.mark.filterwarnings("ignore")  # starlette's own deprecations of its test client
def test_the_service(offline, photos, labels):
    pytest.importorskip("fastapi", reason="the service needs fastapi: pip install '.[serve]'")
    pytest.importorskip("multipart")
    from starlette.testclient import TestClient

    from pnp_ovss.serve.app import ServiceConfig, make_app

    segmenter = Segmenter.from_pretrained(HUB_ID, refine="none", policy="all")
    with TestClient(make_app(segmenter, ServiceConfig()), base_url="http://localhost") as service:
        photo = {"photo": ("a.png", (photos / "a.png").read_bytes())}
        answer = service.post("/segment", files=photo, data={"names": "cat, dog", "answer": "labels"})
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), labels["a"])


def test_the_page(offline, photos, labels, tmp_path):
    pytest.importorskip("gradio", reason="the page needs gradio: pip install '.[web]'")
    from pnp_ovss.web.desk import Desk

    (tmp_path / "kept").mkdir()
    desk = Desk(lambda model: Segmenter.from_pretrained(model, refine="none"), tmp_path / "kept")
    shown = desk.segment(str(photos / "a.png"), "cat, dog", HUB_ID, {"policy": "all"})
    written = next(shown.folder.glob("*.labels.png"))
    assert np.array_equal(np.asarray(Image.open(written)), labels["a"])
    moved = desk.relabel(shown, threshold=0.9, match_threshold=0.0)
    assert moved is not None


@pytest.mark.slow
def test_batch_and_evaluate(call, photos, labels, tmp_path):
    code, _, error = call("batch", photos, "--classes", "cat, dog", "--policy", "all", "--out", tmp_path / "batch")
    assert code == 0, error
    run = read_run(tmp_path / "batch")
    assert {Path(photo.file_name).stem for photo in run.photos} == set(labels)
    assert all(np.array_equal(photo.labels(), labels[Path(photo.file_name).stem]) for photo in run.photos)
    root = write_rectangles(tmp_path / "rectangles")
    code, _, error = call("evaluate", "folder", root, "--out", tmp_path / "report.json", "--limit", 2)
    assert code == 0, error
    assert HUB_ID in json.loads((tmp_path / "report.json").read_text())["model"]


@pytest.mark.slow
def test_tune_writes_a_preset(call, photos, tmp_path):
    tags = tmp_path / "tags.json"
    tags.write_text(json.dumps({f"{name}.png": ["cat", "dog"] for name in "abc"}))
    out = tmp_path / "tuned.toml"
    code, _, error = call("tune", photos, "--tags", tags, "--out", out, "--sampler", "grid", "--scorer-size", 32)
    assert code == 0, error
    tuned = get_preset(out)
    assert tuned.hub_id == HUB_ID
    assert 1 <= tuned.settings["layer"] <= 3
    assert tuned.settings["template"].startswith("Is there {classes}")
    assert load_vlm(tuned, device="cpu").heads == 4


def test_models_check_knows_a_decoder_with_random_weights(hub, saved):
    hub.repositories = {HUB_ID: saved}
    with pytest.raises(ModelError, match=r"known answer wrong"):
        check_model(get_preset(HUB_ID), device="cpu")
