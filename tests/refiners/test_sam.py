"""The SAM refiner: its rule on known answers, and its adapters on small random models."""

import json
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pnp_ovss import Segmenter, SegmenterConfig
from pnp_ovss.errors import ConfigError, ModelError
from pnp_ovss.evaluation.systems import SegmenterSystem
from pnp_ovss.provenance import Provenance, called, recorded
from pnp_ovss.refiners import Evidence, get_refiner, sam
from pnp_ovss.refiners.promptable import Proposals, SamSegmenter, mobile_sam
from pnp_ovss.refiners.promptable_presets import fetch_promptable
from pnp_ovss.refiners.promptable_weights import load_promptable
from pnp_ovss.refiners.sam import merged
from pnp_ovss.testing.fake_vlm import FakeVLM
from pnp_ovss.testing.refiner_contract import RefinerContract
from pnp_ovss.tiles import segment_tiled
from tests.scenes import two_squares

LEFT, RIGHT = np.s_[:, :8], np.s_[:, 24:]


class Parts:
    """A promptable segmenter that knows upright parts of the photo, which end at these quarters; counts what it encodes."""

    def __init__(self, *quarters, whole=True):
        self.quarters, self.whole = quarters, whole
        self.encoded = 0

    def encode(self, image):
        self.encoded += 1
        return image

    def propose(self, features, size, points):
        height, width = size
        masks = -torch.ones(len(points), 3, height, width)
        for row, (x, _) in enumerate(points):
            ends = [quarter * width // 4 for quarter in self.quarters]
            part = sum(x >= end for end in ends[:-1])
            masks[row, 0, :, (0, *ends)[part] : ends[part]] = 1
            masks[row, 1] = 1 if self.whole else -1  # everything, less sure
        return Proposals(masks, torch.tensor([[1.0, 0.6, 0.0]] * len(points)))


@pytest.fixture
def parts(monkeypatch):
    model = Parts(1, 3, 4)
    monkeypatch.setattr(sam, "_loaded", lambda *_: model)
    return model


def photo_and_scores():
    """A photo 16 x 32 with light outer parts, background and a class that is strong on both, and the class's map 4 x 8."""
    image = np.full((16, 32, 3), 40, np.uint8)
    image[LEFT] = image[RIGHT] = 220
    scores = torch.full((2, 16, 32), 0.1)
    scores[0] = 0.9
    scores[(1, *LEFT)], scores[(1, *RIGHT)] = 0.8, 0.6
    scores[0] -= scores[1] - 0.1
    maps = torch.zeros(2, 4, 8)
    maps[1, 1, 0], maps[1, 2, 7] = 1.0, 0.8
    return image, scores, Evidence(("", "thing"), maps)


class TestSAM(RefinerContract):
    @pytest.fixture(autouse=True)
    def two_halves(self, monkeypatch):
        monkeypatch.setattr(sam, "_loaded", lambda *_: Parts(2, 4, whole=False))

    def make_refiner(self):
        return get_refiner("sam")


def test_two_things_of_a_class_are_both_found_and_the_photo_is_encoded_once(parts):
    labels = get_refiner("sam", points=4).refine(*photo_and_scores()).argmax(0)
    assert labels[LEFT].all()
    assert labels[RIGHT].all()
    assert not labels[:, 8:24].any()
    assert parts.encoded == 1


def test_it_works_where_the_scores_are_unless_told_otherwise(monkeypatch):
    monkeypatch.setattr(sam, "_loaded", lambda model, device: (model, device))
    assert get_refiner("sam")._on(torch.device("cuda:1")) == ("mobile-sam", "cuda:1")
    assert get_refiner("sam", device="cpu")._on(torch.device("cuda:1")) == ("mobile-sam", "cpu")


def test_a_thing_without_a_peak_is_found_by_the_middle_of_the_crfs_mask(parts):
    image, scores, evidence = photo_and_scores()
    evidence.maps[1, 2, 7] = 0
    labels = get_refiner("sam").refine(image, scores, evidence).argmax(0)
    assert labels[LEFT].all()
    assert labels[RIGHT].all()
    assert not labels[:, 8:24].any()


def test_a_mask_unlike_the_crfs_is_refused(parts):
    """The class holds the left part, which it was asked about, and the right one: half of it is in the proposal."""
    image, scores, evidence = photo_and_scores()
    rough = get_refiner("densecrf").refine(image, scores)
    assert rough.argmax(0)[LEFT].all()
    assert rough.argmax(0)[RIGHT].all()

    taken, refused = (get_refiner("sam", agreement=a, points=1).refine(image, scores, evidence) for a in (0.4, 0.6))

    assert torch.equal(refused, rough)
    assert taken.argmax(0)[LEFT].all()
    assert not taken.argmax(0)[RIGHT].any()


def test_where_masks_overlap_the_higher_product_wins():
    mask = torch.ones(1, 2, dtype=torch.bool)
    rough = torch.tensor([[[0.1, 0.1]], [[0.6, 0.1]], [[0.3, 0.8]]])
    asked = {channel: sam.Asked("a", channel, (), sam.Chosen(mask, a), True) for channel, a in ((1, 0.8), (2, 0.6))}
    assert merged(rough, asked).argmax(0).tolist() == [[1, 2]]
    asked[2] = replace(asked[2], taken=False)
    assert merged(rough, asked).argmax(0).tolist() == [[1, 1]]


def test_a_mask_wins_where_the_crf_is_sure_of_something_else():
    """Its probability there is so small that it does not change a float32 of 1."""
    rough = torch.tensor([[[1.0, 0.0]], [[1e-9, 1e-9]], [[0.0, 1.0]]])
    asked = {1: sam.Asked("a", 1, (), sam.Chosen(torch.ones(1, 2, dtype=torch.bool), 0.5), True)}
    assert merged(rough, asked).argmax(0).tolist() == [[1, 1]]


@pytest.fixture(scope="module")
def small_sam(tmp_path_factory):
    """A random SAM of 64 px in a folder."""
    from transformers import SamConfig, SamModel

    torch.manual_seed(0)
    vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "mlp_dim": 16, "image_size": 64,
              "global_attn_indexes": [], "output_channels": 16, "num_pos_feats": 8, "window_size": 2}  # fmt: skip
    prompt = {"hidden_size": 16, "image_size": 64, "image_embedding_size": 4}
    mask = {"hidden_size": 16, "mlp_dim": 16, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
    config = SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=mask)
    folder = tmp_path_factory.mktemp("sam")
    SamModel(config).save_pretrained(folder)
    return folder


def test_a_folder_with_sam_gives_three_proposals_a_point_of_the_photo_alone(small_sam):
    model = load_promptable(str(small_sam))
    image = np.random.default_rng(0).integers(0, 256, (30, 60, 3), np.uint8)
    features = model.encode(image)
    logits, predicted = model.propose(features, (30, 60), [(10, 10), (50, 20)])
    assert (logits.shape, predicted.shape) == ((2, 3, 8, 16), (2, 3))
    alone = model.propose(features, (30, 60), [(10, 10)])
    torch.testing.assert_close(logits[:1], alone.logits, atol=1e-4, rtol=0)
    torch.testing.assert_close(predicted[:1], alone.predicted, atol=1e-4, rtol=0)


def test_no_path_of_this_machine_enters_a_result_or_a_report(small_sam, tmp_path, monkeypatch):
    """The folder's own name and what its weights are, also for a film, a batch and windows, which all say `recorded`."""
    twin = tmp_path / "elsewhere" / small_sam.name
    shutil.copytree(small_sam, twin)
    bank = tmp_path / "my.bank.safetensors"
    bank.write_bytes(b"of names")
    said = {}
    for folder in (small_sam, twin):
        config = SegmenterConfig(layer=2, head=2, size_px=96, refine="sam", refine_options={"model": str(folder)})
        segmenter = Segmenter(FakeVLM(), config)
        result = segmenter(two_squares(), ["red", "blue"])
        tiled = segment_tiled(segmenter, two_squares(), ["red", "blue"])
        report = SegmenterSystem(segmenter).settings()
        said[folder] = [
            json.dumps({**values, "time": "", "seconds": {}}) for values in (result.to_dict(), tiled.to_dict(), report)
        ]
        assert all(str(folder) not in text and str(folder.parent) not in text for text in said[folder])
        assert re.search(rf"sam \({small_sam.name} [0-9a-f]{{12}}, trained on masks\)", said[folder][0])
        assert Provenance.from_dict(result.to_dict()).config == result.provenance.config
    assert said[small_sam] == said[twin]

    monkeypatch.chdir(tmp_path)
    kept = recorded(SegmenterConfig(bank=str(bank), clip_model=str(twin), refine_options={"model": "gone"}))
    assert re.fullmatch(r"my\.bank\.safetensors [0-9a-f]{12}", kept.bank)
    assert kept.clip_model.startswith(f"{small_sam.name} ")
    assert kept.refine_options == {"model": "gone"}
    assert recorded(SegmenterConfig(bank="pocket", clip_model="openai/clip")).bank == "pocket"
    assert called(str(tmp_path / "no" / "folder")) == "folder"
    with (twin / "model.safetensors").open("ab") as weights:
        weights.write(b"other")
    called.cache_clear()
    assert called(str(twin)) != kept.clip_model


def test_a_folder_that_lacks_weights_is_refused(small_sam, tmp_path):
    from safetensors.torch import load_file, save_file

    state = load_file(small_sam / "model.safetensors")
    state.pop("mask_decoder.iou_token.weight")
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((small_sam / "config.json").read_text())
    with pytest.raises(ModelError, match=r"1 weight missing \(mask_decoder.iou_token.weight"):
        load_promptable(str(tmp_path))


def test_weights_that_are_not_mobile_sams_are_refused(tmp_path):
    (tmp_path / "mobile_sam.pt").write_bytes(b"something else")
    with pytest.raises(ModelError, match="sha256"):
        load_promptable(str(tmp_path))
    with pytest.raises(ModelError, match="not MobileSAM's weights"):
        mobile_sam({"image_encoder.neck.0.weight": torch.zeros(256, 320, 1, 1)})


def test_weights_that_are_not_here_say_how_to_fetch_them(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="pnp-ovss models fetch mobile-sam"):
        load_promptable("mobile-sam")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"call `pnp-ovss models fetch mobile-sam` again, or copy the cache"):
        fetch_promptable("mobile-sam")


@pytest.mark.parametrize(("option", "value"), [("agreement", 2), ("points", 0)])
def test_impossible_options_are_named(option, value):
    with pytest.raises(ConfigError, match=option):
        get_refiner("sam", **{option: value})


def test_points_are_moved_into_the_models_frame():
    asked = {}

    class Model(torch.nn.Linear):
        def forward(self, **inputs):
            asked.update(inputs)
            return SimpleNamespace(pred_masks=torch.zeros(1, 2, 3, 4, 4), iou_scores=torch.zeros(1, 2, 3))

    SamSegmenter(Model(1, 1), side=100).propose(None, (30, 60), [(30, 15), (60, 30)])
    assert asked["input_points"].tolist() == [[[[50, 25]], [[100, 50]]]]
    assert asked["input_labels"].tolist() == [[[1], [1]]]
