"""One forward and one backward for all layers and heads, equal to asking for each alone; bounded on disk."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from pnp_ovss.config import SegmenterConfig
from pnp_ovss.errors import ConfigError
from pnp_ovss.gradcam import first_passes
from pnp_ovss.prompt import build_prompt
from pnp_ovss.saliency import class_maps, minmax, token_saliency
from pnp_ovss.testing.fake_vlm import FakeVLM
from pnp_ovss.tuning.maps import MapStore, TaggedImage
from pnp_ovss.tuning.masks import binary_masks, masks_at
from pnp_ovss.tuning.tags import tagged_files
from tests.scenes import two_squares

CONFIG = SegmenterConfig(layer=2, head=2, size_px=96, refine="none", threshold=0.5)
NAMES = ("red", "blue")


@pytest.fixture
def scene(tmp_path):
    path = tmp_path / "scene.png"
    Image.fromarray(two_squares()).save(path)
    return TaggedImage(path, NAMES)


@pytest.fixture
def store(scene, tmp_path):
    return MapStore(FakeVLM(), [scene], CONFIG, tmp_path / "maps").build()


def tiny_vlm():
    """A random BLIP-like text encoder over random image tokens: real attention, real gradients."""
    from transformers import BlipTextConfig, BlipTextModel

    from pnp_ovss.prompt import Tokens
    from pnp_ovss.vlms.base import ImageFeatures
    from pnp_ovss.vlms.cross_attention import CrossAttentionVLM, Parts
    from pnp_ovss.vlms.encoders.text_stream import TextStream

    torch.manual_seed(0)
    config = BlipTextConfig(
        vocab_size=50, hidden_size=32, encoder_hidden_size=32, intermediate_size=64, num_hidden_layers=3,
        num_attention_heads=4, max_position_embeddings=32, is_decoder=True, bos_token_id=1, sep_token_id=2,
        eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    text = BlipTextModel(config, add_pooling_layer=False).eval().requires_grad_(False)
    head = torch.nn.Linear(32, 2).requires_grad_(False)

    def tokenize(sentence):
        words, start, offsets = sentence.split(), 0, []
        for word in words:
            start = sentence.index(word, start)
            offsets.append((start, start + len(word)))
            start += len(word)
        ids = [3 + sum(map(ord, word)) % 40 for word in words]
        return Tokens((1, *ids, 2), ((0, 0), *offsets, (0, 0)))

    class Tiny(CrossAttentionVLM):
        name = "tiny"

        def parts(self):
            return Parts(TextStream(text, head), None, 8, prefix_tokens=0)

    vlm = Tiny(torch.nn.ModuleList([text, head]), tokenize)
    return vlm, ImageFeatures(torch.randn(1, 12, 32), (3, 4))


def test_all_at_once_equal_each_alone():
    vlm, features = tiny_vlm()

    found = first_passes(vlm, SimpleNamespace(features=features, names=("cat", "old sofa")), CONFIG)

    assert list(found) == [(layer, head) for layer in vlm.layers for head in (1, 2, 3, 4, "mean")]
    prompt = build_prompt(["cat", "old sofa"], CONFIG.template, vlm.tokenize)
    for layer in vlm.layers:
        for head in (1, 2, 3, 4, "mean"):
            alone = vlm.attend(features, prompt, layers=(layer,), head=head, gradient="match_logit")[0]
            expected = class_maps(token_saliency(alone.probs, alone.grad), prompt.spans).unflatten(1, (3, 4))
            torch.testing.assert_close(minmax(found[layer, head].maps), minmax(expected), atol=1e-4, rtol=1e-3)
            assert found[layer, head].visible.all()
    assert all((minmax(found[layer, 1].maps).amax(dim=(1, 2)) > 0.99).all() for layer in (1, 2))


def test_the_last_layer_has_no_gradient_at_class_tokens():
    """The matching head reads position 0, which the last layer's other rows no longer reach: no map, whatever head."""
    vlm, features = tiny_vlm()

    found = first_passes(vlm, SimpleNamespace(features=features, names=("cat", "old sofa")), CONFIG)
    assert all(found[3, head].maps.count_nonzero() == 0 for head in (1, 2, 3, 4, "mean"))
    assert found[2, "mean"].maps.count_nonzero() > 0


def test_the_store_gives_them_back_in_half_precision(store):
    maps = store.maps(0, 2, 2)

    assert maps.shape == (2, 12, 12)
    assert maps.dtype == torch.float32
    assert float(maps.amin()) == 0
    assert float(maps.amax()) == 1
    assert store.maps(0, 1, 1).count_nonzero() == 0, "a uniform map becomes zeros"
    assert sorted(p.name for p in store.folder.iterdir()) == ["000000.maps.npy", "000000.photo.npy"]
    assert np.load(store.folder / "000000.maps.npy", mmap_mode="r").dtype == np.float16


def test_one_encoding_a_photo_however_many_are_read(store):
    for layer in store.vlm.layers:
        for head in (1, 2, 3, 4, "mean"):
            store.maps(0, layer, head)

    assert store.vlm.encoded == 1


def test_too_much_is_refused_before_anything_is_written(scene, tmp_path):
    with pytest.raises(ConfigError, match="give fewer images"):
        MapStore(FakeVLM(), [scene] * 12_000, CONFIG, tmp_path / "maps")

    assert not (tmp_path / "maps").exists()


def test_masks_cover_what_the_map_shows(store):
    red, blue = masks_at("gradcam", store)(0, CONFIG)
    truth = two_squares()

    assert (red & torch.from_numpy(truth[..., 2] == 255)).sum() == 0
    for mask, channel, other in ((red, 0, 2), (blue, 2, 0)):
        region = torch.from_numpy((truth[..., channel] == 255) & (truth[..., other] == 0))
        assert (mask & region).sum() / (mask | region).sum() > 0.75


@pytest.mark.parametrize("stage", ["dropout", "crf"])
def test_later_stages_compute_each_layer_and_head_once(store, stage):
    masks = masks_at(stage, store)

    first = masks(0, CONFIG)
    encoded = store.vlm.encoded
    masks(0, CONFIG.replace(threshold=0.3))
    again = masks(0, CONFIG)

    assert store.vlm.encoded == encoded > 2
    assert torch.equal(first, again)
    assert first.any(dim=(1, 2)).all()


def test_binary_masks_by_hand():
    maps = torch.tensor([[[0.0, 1.0]]])

    # bilinear to 4 columns, half-pixel centres: 0, 1/4, 3/4, 1
    assert binary_masks(maps, 0.5, (1, 4)).tolist() == [[[False, False, True, True]]]
    assert binary_masks(maps, 0.2, (1, 4)).tolist() == [[[False, True, True, True]]]


def test_unknown_stage_names_the_known(store):
    with pytest.raises(ConfigError, match="choose from gradcam, dropout, crf"):
        masks_at("final", store)


def test_tags_find_photos_by_name_with_or_without_ending(scene, tmp_path):
    (tmp_path / "notes.txt").write_text("no photo")
    found = tagged_files([tmp_path], {"scene": ["red", "dark  blue"], "other.png": ["red"]})

    assert found == (TaggedImage(scene.path, ("red", "dark blue")),)
    assert tagged_files([scene.path], {f"{scene.path.parent.name}/{scene.path.name}": ["red"]})[0].class_names == (
        "red",
    )
    with pytest.raises(ConfigError, match=r'keys must be file names, for example \{"scene.png"'):
        tagged_files([tmp_path], {"nothing.jpg": ["red"]})
