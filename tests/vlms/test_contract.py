"""Every adapter passes the contract that `pnp_ovss.testing` ships, against the unchanged model and plain autograd."""

import tempfile
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from pnp_ovss.prompt import Prompt
from pnp_ovss.testing import small_models
from pnp_ovss.testing.fake_vlm import FakeVLM
from pnp_ovss.testing.vlm_contract import VlmContract
from pnp_ovss.vlms.albef import AlbefVLM, drop_cross_attention
from pnp_ovss.vlms.base import layer_index
from pnp_ovss.vlms.blip import ENC_TOKEN, BlipVLM
from pnp_ovss.vlms.blip2 import Blip2VLM
from pnp_ovss.vlms.bridgetower import BridgeTowerVLM
from pnp_ovss.vlms.checkpoints.convert import empty_model
from pnp_ovss.vlms.checkpoints.key_maps import convert_albef, convert_mplug
from pnp_ovss.vlms.encoders.bpe import BpeTokenizer
from pnp_ovss.vlms.encoders.pocket_model import load_pocket
from pnp_ovss.vlms.encoders.wordpiece import WordPieceTokenizer
from pnp_ovss.vlms.mplug import MplugModel, MplugVLM
from pnp_ovss.vlms.pocket import PocketVLM
from pnp_ovss.vlms.vilt import ViltVLM
from tests.vlms import originals
from tests.vlms.original_forward import original_logits


@cache
def wordpiece(first_token: int | None = None) -> WordPieceTokenizer:
    """A tokenizer made on the spot."""
    folder = Path(tempfile.mkdtemp())
    return WordPieceTokenizer.from_vocabulary(small_models.wordpiece_file(folder), first_token=first_token)


@cache
def byte_level() -> BpeTokenizer:
    """The same for BridgeTower."""
    return BpeTokenizer.from_folder(small_models.bpe_files(Path(tempfile.mkdtemp())))


def gradient(logits: torch.Tensor, probs: torch.Tensor) -> torch.Tensor:
    """∂(match logit)/∂(attention) by plain autograd."""
    return torch.autograd.grad(logits[:, 1].sum(), probs)[0][0].detach()


class Hook:
    """Keeps the second output of a module, its attention probabilities."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.handle = module.register_forward_hook(self._keep)
        self.probs = torch.empty(0)

    def _keep(self, module: Any, inputs: Any, output: Any) -> None:
        self.probs = output[1]

    def __enter__(self) -> "Hook":
        return self

    def __exit__(self, *_: object) -> None:
        self.handle.remove()


class TestFake(VlmContract):
    precisions = ()
    class_names = ("red", "blue", "green")

    def make(self, precision="float32"):
        return FakeVLM()

    def test_patches_are_row_major(self):
        """The fake's match is a step function: a colour is there or not."""
        vlm = self.make()
        pixels = -torch.ones(3, 16, 40) * 2
        pixels[0, 8:, :8] = 2  # red, at the bottom left
        visible = torch.zeros(10, dtype=torch.bool)
        visible[5] = True
        prompt = self._prompt(vlm, "red")
        assert vlm.match(vlm.encode(pixels, visible), [prompt])[0, 1] > 0
        assert vlm.match(vlm.encode(pixels, ~visible), [prompt])[0, 1] < 0

    def test_equals_a_plain_hook(self):
        pytest.skip("the fake has no graph")

    def test_is_near_a_plain_hook_in_float32(self):
        pytest.skip("the fake has no graph")


class TestBlip(VlmContract):
    def make(self, precision="float32"):
        return BlipVLM(small_models.small_blip(), wordpiece(ENC_TOKEN), precision=precision)

    def plain(self, vlm, pixels, prompt, layer):
        ids = torch.tensor([prompt.token_ids])
        with Hook(vlm.model.text_encoder.encoder.layer[layer_index(layer)].crossattention.self) as hook:
            logits = vlm.model(
                input_ids=ids,
                pixel_values=pixels[None].clone().requires_grad_(),
                attention_mask=torch.ones_like(ids),
                use_itm_head=True,
                interpolate_pos_encoding=True,
            ).itm_score
        return hook.probs[0, ..., 1:].detach(), gradient(logits, hook.probs)[..., 1:], logits[0].detach()


@cache
def pocket() -> tuple[Any, Any]:
    """The built-in model and its tokenizer."""
    return load_pocket()


class TestPocket(VlmContract):
    """With its own weights; a "patch" sees its neighbours, so that only the keys of removed ones leave."""

    def make(self, precision="float32"):
        model, tokenizer = pocket()
        return PocketVLM(deepcopy(model), WordPieceTokenizer(tokenizer), precision=precision)

    def plain(self, vlm, pixels, prompt, layer):
        ids = torch.tensor([prompt.token_ids])
        with Hook(vlm.model.text_encoder.encoder.layer[layer_index(layer)].crossattention.self) as hook:
            logits = vlm.model(pixels[None].clone().requires_grad_(), ids, torch.ones_like(ids))
        return hook.probs[0].detach(), gradient(logits, hook.probs), logits[0].detach()


class TestBridgeTower(VlmContract):
    def make(self, precision="float32"):
        return BridgeTowerVLM(small_models.small_bridgetower(), byte_level(), precision=precision)

    def plain(self, vlm, pixels, prompt, layer):
        ids = torch.tensor([prompt.token_ids])
        tower = vlm.model.bridgetower
        with Hook(tower.cross_modal_text_layers[layer_index(layer)].crossattention.self) as hook:
            pooled = tower(
                input_ids=ids, pixel_values=pixels[None].clone().requires_grad_(), interpolate_pos_encoding=True
            ).pooler_output
        logits = vlm.model.itm_score(pooled)
        return hook.probs[0, ..., 1:].detach(), gradient(logits, hook.probs)[..., 1:], logits[0].detach()


class _Original(VlmContract):
    """ALBEF and mPLUG against their authors' forward pass, on the checkpoint before its conversion."""

    sizes = originals.Sizes()
    family = ""
    exact_tolerance = 1e-7  # the conversion adds the token type to the positions once, in float32
    state: dict[str, torch.Tensor]

    def plain(self, vlm, pixels, prompt: Prompt, layer):
        ids = torch.tensor([prompt.token_ids])
        state = {name: value.to(pixels.dtype) for name, value in self.state.items()}
        logits, maps = original_logits(state, self.family, pixels.clone().requires_grad_(), ids)
        probs = maps[vlm.layers.index(layer)]
        return probs[0, ..., 1:].detach(), gradient(logits, probs)[..., 1:], logits[0].detach()


class TestAlbef(_Original):
    family = "albef"
    state = originals.random_state(originals.albef_shapes(originals.Sizes()))

    def make(self, precision="float32"):
        converted = convert_albef(self.state)
        model = _filled(empty_model({**converted.config, "first_cross_layer": 1}), converted)
        drop_cross_attention(model.text_encoder, 3)
        return AlbefVLM(model, wordpiece(), precision=precision)


class TestMplug(_Original):
    family = "mplug"
    state = originals.random_state(originals.mplug_shapes(originals.Sizes()))

    def make(self, precision="float32"):
        converted = convert_mplug(self.state)
        return MplugVLM(_filled(MplugModel(converted.config), converted), wordpiece(), precision=precision)


class BaseMplug(TestMplug):
    """As wide as the text: no projection between."""

    state = originals.random_state(originals.mplug_shapes(originals.Sizes(vision_width=128)))
    __test__ = False  # only the one comparison below


def test_mplug_base_equals_the_original():
    assert "visn_fc.weight" not in BaseMplug.state
    BaseMplug().test_equals_a_plain_hook()


def _filled(model, converted):
    if next(model.parameters()).is_meta:
        model = type(model)(model.config)
    missing, unexpected = model.load_state_dict({k: v.clone() for k, v in converted.weights.items()}, strict=False)
    assert not unexpected
    assert all("crossattention" in name for name in missing)
    return model.eval().requires_grad_(False)


class TestBlip2(VlmContract):
    def make(self, precision="float32"):
        return Blip2VLM(small_models.small_blip2(), wordpiece(), precision=precision)

    def plain(self, vlm, pixels, prompt, layer):
        model, queries = vlm.model, vlm.model.config.num_query_tokens
        ids = torch.tensor([prompt.token_ids])
        blocks = model.qformer.encoder.layer
        image = model.vision_model(pixels[None].clone().requires_grad_(), interpolate_pos_encoding=True)[0]
        embeds = model.embeddings(input_ids=ids, query_embeds=model.query_tokens)
        looks = Hook(blocks[layer_index(layer)].crossattention.attention)
        reads = Hook(blocks[layer_index(layer) + 1].attention.attention)
        with looks, reads:
            hidden = model.qformer(query_embeds=embeds, query_length=queries, encoder_hidden_states=image)[0]
        logits = model.itm_head(hidden[:, :queries]).mean(dim=1)
        grad = gradient(logits, looks.probs)
        # A(t, n) and the weighted mean of the gradient, one path over a query at a time.
        share = reads.probs[0].mean(dim=0)[queries:, :queries]
        probs = torch.zeros(vlm.heads, ids.shape[1], looks.probs.shape[-1])
        weighted = torch.zeros_like(probs)
        for q in range(queries):
            path = share[None, :, q, None] * looks.probs[0, :, None, q]
            probs, weighted = probs + path, weighted + path * grad[:, None, q]
        return probs[..., 1:].detach(), (weighted / probs)[..., 1:].detach(), logits[0].detach()


class TestVilt(VlmContract):
    precisions = ("bfloat16",)

    def make(self, precision="float32"):
        return ViltVLM(small_models.small_vilt(), wordpiece(), precision=precision)

    def plain(self, vlm, pixels, prompt, layer):
        ids = torch.tensor([prompt.token_ids])
        length, count = ids.shape[1], (pixels.shape[1] // vlm.patch_px) * (pixels.shape[2] // vlm.patch_px)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            joint = vlm.model.vilt(
                input_ids=ids,
                pixel_values=pixels[None].clone().requires_grad_(),
                pixel_mask=torch.ones(1, *pixels.shape[1:]),
                output_attentions=True,
            )
            torch.manual_seed(0)
            order = torch.multinomial(torch.ones(count), count)  # transformers shuffles the patches; draw it again
        probs = joint.attentions[layer_index(layer)]
        score = vlm.model.rank_output(joint.pooler_output)
        logits = torch.cat([torch.zeros_like(score), score], dim=1)
        grad = gradient(logits, probs)
        sorted_maps = []
        for maps in (probs[0].detach(), grad):
            block = torch.empty(vlm.heads, length, count, dtype=pixels.dtype)
            block[..., order] = maps[:, :length, length + 1 :]
            sorted_maps.append(block)
        return sorted_maps[0], sorted_maps[1], logits[0].detach()
