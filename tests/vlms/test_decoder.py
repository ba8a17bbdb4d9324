"""Vision-language decoders: the contract on small random models of the true architectures, against eager autograd."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import AddedToken, Tokenizer
from transformers import Mistral3Config, Mistral3ForConditionalGeneration

from pnp_ovss import Segmenter, SegmenterConfig
from pnp_ovss.checkpoint import merged_patches
from pnp_ovss.errors import ClassNameError, ConfigError, ModelError
from pnp_ovss.presets import QUESTION
from pnp_ovss.prompt import build_prompt
from pnp_ovss.testing.model_state import state_of
from pnp_ovss.testing.small_decoders import TEXT, VISION, chat_files, small_decoder, small_tokenizer
from pnp_ovss.testing.vlm_contract import VlmContract
from pnp_ovss.vlms.base import ImageFeatures, layer_index
from pnp_ovss.vlms.decoder import DecoderVLM
from pnp_ovss.vlms.decoder_prompt import Chat


def plain_inputs(vlm, pixels, prompt):
    """What the family's own processor would hand the model, whole: ids, pixels and what tells them apart."""
    side, merged = vlm.patch_px, merged_patches(vlm.model.config)
    grid = (pixels.shape[1] // side, pixels.shape[2] // side)
    before, image = vlm.tokenizer.prefix, vlm.tokenizer.image_token
    ids = torch.tensor([[*before, *[image] * (grid[0] * grid[1]), *prompt.token_ids]])
    inputs = {"input_ids": ids, "pixel_values": pixels[None]}
    kind = vlm.model.config.model_type
    if kind.startswith("qwen"):
        inputs |= {"mm_token_type_ids": (ids == image).long(), **qwen_pixels(pixels, side // merged, merged)}
    if kind in ("smolvlm", "idefics3"):
        inputs["pixel_values"] = pixels[None, None]
    if kind == "paligemma":
        inputs["token_type_ids"] = torch.zeros_like(ids)
    return inputs, len(before), grid


def qwen_pixels(pixels, side, merged):
    """Patch after patch by loops: blocks row by row, in each its m x m patches, in each channel, frame, row, column."""
    rows, columns = pixels.shape[1] // side, pixels.shape[2] // side
    flat = []
    for top in range(0, rows, merged):
        for left in range(0, columns, merged):
            for row in range(top, top + merged):
                for column in range(left, left + merged):
                    patch = pixels[:, row * side : (row + 1) * side, column * side : (column + 1) * side]
                    flat.append(torch.stack([patch, patch], dim=1).flatten())
    return {"pixel_values": torch.stack(flat), "image_grid_thw": torch.tensor([[1, rows, columns]])}


def adapter(kind="llava", files=None):
    return DecoderVLM(small_decoder(kind), files or chat_files(kind))


def test_the_rows_say_how_much_goes_to_the_image():
    """Columns of text are dropped and nothing is divided by their absence."""
    vlm = adapter()
    prompt = build_prompt(["cat"], QUESTION, vlm.tokenize)
    image = vlm.encode(torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(0)))
    found = vlm.attend(image, prompt, layers=(2,), head="mean", gradient="none")[0]
    assert 0.05 < float(found.probs.sum(dim=-1).mean()) < 0.95


@pytest.mark.parametrize("kind", ["llava", "qwen3_vl"])
def test_kept_keys_and_values_change_nothing(kind):
    """Many texts over one image computed once equal each text's whole pass by the unchanged model."""
    vlm = adapter(kind)
    pixels = torch.randn(3, 2 * vlm.patch_px, 3 * vlm.patch_px, generator=torch.Generator().manual_seed(0))
    prompts = [build_prompt([name], QUESTION, vlm.tokenize) for name in ("cat", "traffic light", "dog", "sofa", "bus")]
    together = vlm.match(vlm.encode(pixels), prompts)
    answers = [vlm.tokenizer.files.tokenizer.token_to_id(word) for word in ("no", "yes")]
    for prompt, row in zip(prompts, together, strict=True):
        inputs, _, _ = plain_inputs(vlm, pixels, prompt)
        if kind == "llava":
            vlm.model.model.get_image_features = resized(vlm.model.model.get_image_features)
        plain = vlm.model(**inputs).logits[0, -1, answers]
        vlm.model.model.__dict__.pop("get_image_features", None)
        assert torch.allclose(row, plain, atol=1e-4)
    assert len({round(float(value), 3) for value in together[:, 1]}) == len(prompts)


def test_no_word_sees_a_removed_patch():
    """In the first layer the others share out what a word would have given it."""
    vlm = adapter()
    visible = torch.tensor([True, False, True, False])
    some = vlm.encode(torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(0)), visible)
    empty = torch.zeros(1, 4, some.tokens.shape[-1])
    empty[:, visible] = some.tokens
    seen, unseen = (
        vlm.attend(image, build_prompt(["cat"], QUESTION, vlm.tokenize), layers=(1,), head="mean", gradient="none")[
            0
        ].probs
        for image in (ImageFeatures(empty, some.grid), some)
    )
    lost = seen[..., ~visible].sum(dim=-1, keepdim=True)
    assert float(lost.max()) > 0.05
    assert torch.allclose(unseen[..., visible], seen[..., visible] / (1 - lost), rtol=1e-4)


def test_the_attention_implementation_is_put_back():
    vlm = adapter()
    before = vlm.model.config.text_config._attn_implementation
    image = vlm.encode(torch.zeros(3, 16, 16))
    prompt = build_prompt(["cat"], QUESTION, vlm.tokenize)
    vlm.attend(image, prompt, layers=(1,), head=1, gradient="margin")
    assert vlm.model.config.text_config._attn_implementation == before != "pnp_ovss"
    with pytest.raises(ClassNameError, match="special token"):
        vlm.attend(image, build_prompt(["<image>"], QUESTION, vlm.tokenize), layers=(1,), head=1, gradient="none")


@pytest.mark.parametrize("kind", ["llava", "paligemma"])
def test_what_fails_in_the_middle_leaves_the_model_as_it_was(kind, monkeypatch):
    """Attention, training flags, parameters' flags, autograd's mode; and the next question has its answer."""
    vlm = adapter(kind)
    prompt = build_prompt(["cat"], QUESTION, vlm.tokenize)
    image = vlm.encode(torch.zeros(3, 16, 16))
    wanted = adapter(kind).match(image, [prompt])
    vlm.model.train().requires_grad_(True)
    before, attention = state_of(vlm.model), vlm.model.config.text_config._attn_implementation

    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr(vlm.model.model.language_model.layers[-1].mlp, "forward", full)
    with pytest.raises(MemoryError):
        vlm.match(image, [prompt])
    with pytest.raises(MemoryError):
        vlm.attend(image, prompt, layers=(1,), head=1, gradient="margin")
    monkeypatch.undo()
    assert state_of(vlm.model) == before
    assert vlm.model.config.text_config._attn_implementation == attention
    assert torch.is_grad_enabled()
    assert torch.allclose(vlm.match(image, [prompt]), wanted, atol=1e-4)


def test_the_word_table_is_not_copied():
    """A slice of the last position would make torch copy it for every text: minutes in bfloat16."""
    vlm, seen = adapter(), []
    vlm.model.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    prompts = [build_prompt([name], QUESTION, vlm.tokenize) for name in ("cat", "dog", "sofa")]
    vlm.match(image := vlm.encode(torch.zeros(3, 16, 16)), prompts)
    vlm.attend(image, prompts[0], layers=(1,), head=1, gradient="margin")
    assert {tuple(states.shape[:2]) for states in seen} == {(1, 1), (3, 1)}
    assert all(states.stride(0) == states.shape[-1] for states in seen)


def test_answers_in_several_spellings_are_one():
    """logsumexp over the spellings that are one token; a model without one for an answer is refused."""
    files = chat_files("llava")
    tokenizer = Tokenizer.from_str(files.tokenizer.to_str())
    tokenizer.add_tokens([AddedToken("Yes", normalized=False)])
    chat = Chat(replace(files, tokenizer=tokenizer), tokenizer.token_to_id("<image>"))
    assert chat.answers()[1] == tuple(tokenizer.token_to_id(word) for word in ("yes", "Yes"))
    letters = json.loads(files.tokenizer.to_str())
    letters["model"]["vocab"]["nope"] = letters["model"]["vocab"].pop("no")
    letters = replace(files, tokenizer=Tokenizer.from_str(json.dumps(letters)))
    with pytest.raises(ModelError, match="'no' is no single token"):
        adapter(files=letters)


def test_what_is_missing_is_said():
    with pytest.raises(ModelError, match="no chat template"):
        adapter(files=replace(chat_files("llava"), template=""))
    with pytest.raises(ModelError, match="image after the words"):
        adapter(files=replace(chat_files("llava"), template="{{ messages[0]['content'][1]['text'] }}<image>"))
    with pytest.raises(ConfigError, match="square"):
        adapter("smolvlm").encode(torch.zeros(3, 32, 64))
    with pytest.raises(ConfigError, match="float32 or bfloat16"):
        DecoderVLM(small_decoder("llava"), chat_files("llava"), precision="bfloat16-vision")
    model = small_decoder("llava")
    model.config.model_type = "llava_next"
    with pytest.raises(ModelError, match="tiles"):
        DecoderVLM(model, chat_files("llava"))
    with pytest.raises(ModelError, match=r"^new: a mistral3 is not asked about a photo as llava, .*'image_sizes'$"):
        DecoderVLM(unknown_decoder(), chat_files("llava"), name="new")


def unknown_decoder():
    """Of a class that wants more than pixels."""
    text = {**TEXT, "model_type": "mistral", "vocab_size": small_tokenizer().get_vocab_size()}
    image = small_tokenizer().token_to_id("<image>")
    config = Mistral3Config(text_config=text, vision_config={**VISION, "head_dim": 12}, image_token_index=image)
    return Mistral3ForConditionalGeneration(config)


def test_the_baseline_prompt_is_subtracted():
    """What every text looks at, sinks among it, leaves the maps; look_all says the same as look."""
    photo = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    config = SegmenterConfig(layer=2, head="mean", size_px=32, refine="none", template=QUESTION, policy="all", drops=0)
    plain = Segmenter(adapter(), config)
    relative = plain.replace(baseline_prompt="Describe the picture.")
    prepared = plain.prepare(photo, ["cat", "dog"])
    before, after = plain.look(prepared).passes[0].maps, relative.look(prepared).passes[0].maps
    prompt = build_prompt(["Describe the picture."], "{classes}", plain.vlm.tokenize)
    found = plain.vlm.attend(prepared.features, prompt, layers=(2,), head="mean", gradient="match_logit")[0]
    saliency = (found.probs * found.grad.clamp(min=0)).mean(dim=0)[list(prompt.spans[0])].mean(dim=0)
    expected = (before - saliency.reshape(before.shape[1:])).clamp(min=0)
    assert torch.allclose(after, expected, atol=1e-4 * float(before.max()))
    assert not torch.allclose(after, before, atol=1e-2 * float(before.max()))
    assert torch.allclose(
        relative.look_all(prepared)[(2, "mean")].passes[0].maps, after, atol=1e-4 * float(before.max())
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", ["llava", "qwen3_vl", "paligemma"])
def test_cuda_agrees_with_the_processor(kind):
    found = []
    for device in ("cpu", "cuda"):
        vlm = adapter(kind)
        vlm.model.to(device)
        prompt, side = build_prompt(["cat"], QUESTION, vlm.tokenize), 2 * vlm.patch_px
        image = vlm.encode(torch.ones(3, side, side), torch.tensor([True, False, True, True]))
        found.append(vlm.attend(image, prompt, layers=(1, 2), head="mean", gradient="match_logit"))
    for here, there in zip(*found, strict=True):
        assert torch.allclose(here.probs, there.probs.cpu(), atol=1e-3)
        assert torch.allclose(here.grad, there.grad.cpu(), atol=1e-3 * float(here.grad.abs().max()))


class Decoder(VlmContract):
    kind = ""
    precisions = ("bfloat16",)
    exact_tolerance = 1e-5  # norms and eager softmax of transformers are float32 in every precision
    interpolates = True

    def make(self, precision="float32"):
        return DecoderVLM(small_decoder(self.kind), chat_files(self.kind), precision=precision)

    def plain(self, vlm, pixels, prompt, layer):
        """The unchanged model from pixels to the answer, eager, the whole graph, every row."""
        inputs, start, grid = plain_inputs(vlm, pixels, prompt)
        count, length = grid[0] * grid[1], len(prompt.token_ids)
        text = vlm.model.config.get_text_config()
        before, text._attn_implementation = text._attn_implementation, "eager"
        vlm.model.requires_grad_(True)
        try:
            if self.interpolates:  # the size is not the trained one: transformers wants to be asked
                vlm.model.model.get_image_features = resized(vlm.model.model.get_image_features)
            found = vlm.model(**inputs, output_attentions=True)
        finally:
            vlm.model.model.__dict__.pop("get_image_features", None)
            text._attn_implementation = before
        probs = found.attentions[layer_index(layer)]
        answers = [[vlm.tokenizer.files.tokenizer.token_to_id(word)] for word in ("no", "yes")]
        logits = torch.stack([found.logits[:, -1, ids].logsumexp(dim=1) for ids in answers], dim=1)
        grad = torch.autograd.grad(logits[:, 1].sum(), probs)[0][0]
        vlm.model.requires_grad_(False)
        block = slice(start, start + count)
        return probs[0, :, -length:, block].detach(), grad[:, -length:, block], logits[0].detach()


def resized(features):
    return lambda *args, **options: features(*args, interpolate_pos_encoding=True, **options)


class TestLlava(Decoder):
    kind = "llava"


@pytest.mark.slow
class TestQwen25(Decoder):
    kind = "qwen2_5_vl"
    interpolates = False


class TestQwen3(Decoder):
    kind = "qwen3_vl"
    interpolates = False


class TestPaliGemma(Decoder):
    kind = "paligemma"


@pytest.mark.slow
class TestPaliGemma2(Decoder):
    """Scores bent by a cap."""

    kind = "paligemma2"


class TestSmolVlm(Decoder):
    kind = "smolvlm"
    interpolates = False
    steps = ((2, 2), (4, 4), (3, 3))


@pytest.mark.slow
class TestIdefics3(TestSmolVlm):
    kind = "idefics3"


@pytest.mark.slow
class TestInternVl(TestSmolVlm):
    kind = "internvl"
