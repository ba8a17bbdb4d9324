"""Vision-language decoders: the contract on small random models of the true architectures, against eager autograd."""

import pytest
import torch

from pnp_ovss.checkpoint import merged_patches
from pnp_ovss.testing.small_decoders import chat_files, small_decoder
from pnp_ovss.testing.vlm_contract import VlmContract
from pnp_ovss.vlms.base import layer_index
from pnp_ovss.vlms.decoder import DecoderVLM


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
        before = vlm.model.config._attn_implementation
        vlm.model.set_attn_implementation("eager")
        vlm.model.requires_grad_(True)
        try:
            if self.interpolates:  # the size is not the trained one: transformers wants to be asked
                vlm.model.model.get_image_features = resized(vlm.model.model.get_image_features)
            found = vlm.model(**inputs, output_attentions=True)
        finally:
            vlm.model.model.__dict__.pop("get_image_features", None)
            vlm.model.set_attn_implementation(before)
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
