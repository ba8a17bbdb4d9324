import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from pnp_ovss.baselines.clip_dense import TEMPLATES, DenseClip, DenseFeatures
from pnp_ovss.baselines.maskclip import MaskClip, drop_unlikely, smooth_by_keys
from pnp_ovss.baselines.reco import Reco, co_segment
from pnp_ovss.clip import Clip
from pnp_ovss.errors import DatasetError
from pnp_ovss.evaluation.systems import Query
from pnp_ovss.vlms.base import CLIP_MEAN, CLIP_STD
from tests.near import equal, near


@pytest.fixture(scope="module")
def clip(clip_folder):
    return DenseClip(Clip.from_pretrained(clip_folder, device="cpu"), size_px=48)


def pixels_of(image, side):
    squashed = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)) / 255
    return torch.tensor((squashed - np.array(CLIP_MEAN)) / np.array(CLIP_STD)).permute(2, 0, 1)[None].float()


def test_dense_features_are_the_model_with_its_last_attention_replaced(clip, noise, monkeypatch):
    """Oracle: transformers' own forward, the last block's attention returning out(value) of each token."""
    found = clip.dense(noise)
    tower = clip.model.vision_model
    attention = tower.encoder.layers[-1].self_attn

    def own_value(hidden_states, attention_mask=None, **_):
        return attention.out_proj(attention.v_proj(hidden_states)), None

    monkeypatch.setattr(attention, "forward", own_value)
    with torch.no_grad():
        hidden = tower(pixel_values=pixels_of(noise, 48), interpolate_pos_encoding=True).last_hidden_state
        expected = clip.model.visual_projection(tower.post_layernorm(hidden[0, 1:]))
    assert found.grid == (6, 6)
    torch.testing.assert_close(found.patches, F.normalize(expected, dim=1), rtol=1e-3, atol=1e-4)
    near(found.patches.norm(dim=1), torch.ones(36))
    assert found.keys.shape[0] == 36


def test_whole_images_and_texts_are_clips_own(clip, noise):
    with torch.no_grad():
        inputs = {"pixel_values": pixels_of(noise, 48), "interpolate_pos_encoding": True}
        expected = clip.model.get_image_features(**inputs).pooler_output[0]
        texts = []
        for template in TEMPLATES:
            ids = torch.tensor([clip.clip.tokenizer(template.format("cat"), truncation=True, max_length=16).input_ids])
            texts.append(F.normalize(clip.model.get_text_features(ids).pooler_output[0], dim=0))
    torch.testing.assert_close(clip.whole(noise), F.normalize(expected, dim=0), rtol=1e-3, atol=1e-4)
    text = F.normalize(torch.stack(texts).mean(dim=0), dim=0)
    torch.testing.assert_close(clip.texts(["cat"])[0], text, rtol=1e-3, atol=1e-4)


def test_the_random_model_answers_in_the_images_size(clip, noise):
    query = Query("a", noise, (("cat",), ("dog",)), ())
    with_background = MaskClip(clip, background=True).answer(query)[""].labels
    assert with_background.shape == (40, 60)
    assert set(np.unique(with_background)) <= {0, 1, 2}
    assert MaskClip(clip, background=False).answer(query)[""].labels.min() >= 1


def test_smoothing_against_a_loop():
    generator = torch.Generator().manual_seed(0)
    shares = torch.rand(7, 3, generator=generator).double()
    keys = F.normalize(torch.randn(7, 4, generator=generator).double(), dim=1)
    for i in range(7):
        weights = [max(0.0, float(keys[i] @ keys[j])) for j in range(7)]
        expected = sum(w * shares[j] for j, w in enumerate(weights)) / sum(weights)
        equal(smooth_by_keys(shares, keys)[i], expected)


def test_denoising_drops_what_is_likely_nowhere():
    shares = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.45, 0.45]])
    assert drop_unlikely(shares, 0.5).tolist() == [[pytest.approx(0.6), 0, 0], [pytest.approx(0.1), 0, 0]]
    assert torch.equal(drop_unlikely(shares, 0.9), shares)


COLOURS = {"red": (1.0, 0, 0), "blue": (0, 0, 1.0), "green": (0, 1.0, 0), "background": (0.6, 0.6, 0.6)}


class ColourClip:
    """Stands for DenseClip: a patch's vector is its colour, a name's vector the colour it names."""

    name, size_px = "colours", 32
    model = torch.nn.Identity()

    def dense(self, image):
        cells = torch.tensor(image.reshape(8, image.shape[0] // 8, 12, image.shape[1] // 12, 3).mean(axis=(1, 3)))
        patches = F.normalize(cells.reshape(-1, 3).float() + 1e-3, dim=1)
        return DenseFeatures(patches, patches, (8, 12))

    def whole(self, image):
        return F.normalize(torch.tensor(image.reshape(-1, 3).mean(axis=0)).float() + 1e-3, dim=0)

    def texts(self, names):
        return F.normalize(torch.tensor([COLOURS[name] for name in names]), dim=1)


def test_maskclip_names_each_half(two_halves):
    query = Query("a", two_halves, (("green",), ("blue",), ("red",)), ())
    for background in (False, True):
        labels = MaskClip(ColourClip(), background=background).answer(query)[""].labels
        assert (labels[:, :20] == 3).all()
        assert (labels[:, 28:] == 2).all()


def test_co_segmentation_finds_what_recurs():
    generator = torch.Generator().manual_seed(1)
    planted = F.normalize(torch.randn(16, generator=generator), dim=0)
    images = []
    for _ in range(6):
        patches = torch.randn(30, 16, generator=generator)
        patches[int(torch.randint(30, (1,), generator=generator))] = planted + 0.02
        images.append(F.normalize(patches, dim=1))
    assert float(co_segment(images) @ planted) > 0.99


def test_reco_retrieves_and_names_each_half(two_halves, tmp_path):
    generator = np.random.default_rng(0)
    for index in range(12):
        image = np.full((32, 48, 3), generator.integers(60, 200), np.uint8)
        image[8:24, 12:36] = ((255, 0, 0), (0, 0, 255), (0, 255, 0))[index % 3]
        Image.fromarray(image).save(tmp_path / f"{index:02}.png")
    reco = Reco(ColourClip(), tmp_path, background=False, retrieved=4)
    labels = reco.answer(Query("a", two_halves, (("blue",), ("red",)), ()))[""].labels
    assert (labels[:, :20] == 2).all()
    assert (labels[:, 28:] == 1).all()
    assert reco.settings()["images"] == 12


def test_reco_needs_images(tmp_path):
    with pytest.raises(DatasetError, match="holds 0 images"):
        Reco(ColourClip(), tmp_path, background=False)
