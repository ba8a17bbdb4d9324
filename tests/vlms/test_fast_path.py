"""What keeps the method fast, counted instead of timed: encoder calls, the graph's extent, tensors that must not exist."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pnp_ovss import Segmenter, SegmenterConfig
from pnp_ovss.prompt import build_prompt
from pnp_ovss.testing import small_models
from pnp_ovss.vlms.blip import ENC_TOKEN, BlipVLM
from tests.vlms.test_contract import wordpiece

TEMPLATE = "A picture of {classes}"
PHOTO = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.fixture
def vlm() -> BlipVLM:
    return BlipVLM(small_models.small_blip(), wordpiece(ENC_TOKEN))


class Shapes(TorchDispatchMode):
    """The shapes of all tensors that are made."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for value in found if isinstance(found, tuple | list) else (found,):
            if isinstance(value, torch.Tensor):
                self.seen.append(tuple(value.shape))
        return found


@pytest.mark.parametrize("drops", [0, 2])
def test_the_image_is_encoded_once_a_pass_however_many_classes(vlm, monkeypatch, drops):
    calls, encode = [], vlm.encode
    monkeypatch.setattr(vlm, "encode", lambda *given: calls.append(1) or encode(*given))
    config = SegmenterConfig(layer=1, head=1, size_px=64, drops=drops, refine="none", match_threshold=0.0)

    Segmenter(vlm, config)(PHOTO, ["cat", "dog", "sofa"])

    assert len(calls) == drops + 1


def test_no_graph_below_the_asked_layer(vlm):
    layers = vlm.model.text_encoder.encoder.layer
    graphs = {}
    for number, layer in enumerate(layers, start=1):
        layer.output.dense.register_forward_hook(
            lambda _m, _i, output, number=number: graphs.__setitem__(number, output.requires_grad)
        )
    features = vlm.encode(torch.rand(3, 64, 64))
    assert not features.tokens.requires_grad

    vlm.attend(
        features, build_prompt(["cat"], TEMPLATE, vlm.tokenize), layers=(2,), head="mean", gradient="match_logit"
    )

    assert len(layers) >= 2
    assert graphs == {number: number >= 2 for number in range(1, len(layers) + 1)}
    assert all(parameter.grad is None for parameter in vlm.model.parameters())


def test_matching_makes_no_tensor_of_words_by_patches(vlm):
    features = vlm.encode(torch.rand(3, 64, 64))
    patches, prompt = features.tokens.shape[1], build_prompt(["cat", "dog"], TEMPLATE, vlm.tokenize)
    words = len(prompt.token_ids)
    assert words != patches

    with Shapes() as plain:  # the counter itself: eager attention does make one
        torch.rand(1, vlm.heads, words, 4) @ torch.rand(1, vlm.heads, 4, patches)
    with Shapes() as shapes:
        vlm.match(features, [prompt])

    assert any(shape[-2:] == (words, patches) for shape in plain.seen)
    assert not any(shape[-2:] == (words, patches) for shape in shapes.seen)


def test_the_refiner_gets_one_channel_for_each_class_that_lives(vlm):
    channels = []

    class Counting:
        name = "counting"

        def refine(self, image, scores, evidence=None):
            channels.append(len(scores))
            return scores

    config = SegmenterConfig(layer=1, head=1, size_px=64, drops=0, policy="all", normalise="global")
    maps = Segmenter(vlm, config.replace(refine="none"))(PHOTO, ["cat", "dog", "sofa"]).maps
    peaks = np.sort(maps.reshape(3, -1).max(axis=1))

    result = Segmenter(vlm, config.replace(threshold=float(peaks[:2].mean())), refiner=Counting())(
        PHOTO, ["cat", "dog", "sofa"]
    )

    assert channels == [3]
    assert len(result.channels) == 3
