"""The contract of an adapter, as tests to inherit: what the method relies on, checked on a small model.

    class TestMyVLM(VlmContract):
        def make(self, precision="float32"):
            return MyVLM(small_random_model(), tokenizer, precision=precision)

        def plain(self, vlm, pixels, prompt, layer):
            return attention, its_gradient, logits  # of the unchanged model, by a hook and autograd

`pytest` then runs every `test_` method. docs/extending.md walks through an adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest import SkipTest

import torch

from pnp_ovss.testing.model_state import saved_elements, state_of
from pnp_ovss.testing.vlm_case import refusal, relative_error, tensors_of
from pnp_ovss.testing.vlm_contract_images import ImageContract
from pnp_ovss.vlms.base import CrossAttention, MatchesPhotos, TakesPhotos, VisionLanguageModel


class VlmContract(ImageContract):
    """Inherit as a class called Test..., define `make` and, where it can be run plainly, `plain` (see `VlmCase`).

    pytest then runs all of it: the protocol, the gradient, and what `ImageContract` holds.
    """

    # The protocol.

    def test_has_the_attributes_of_the_protocol(self) -> None:
        """Names, layers from 1 in order, heads, sizes that fit each other."""
        vlm = self.make()
        assert isinstance(vlm, VisionLanguageModel)
        assert vlm.layers == tuple(sorted(set(vlm.layers)))
        assert vlm.layers[0] >= 1
        assert vlm.size_step_px % vlm.patch_px == 0
        assert len(vlm.mean) == len(vlm.std) == 3

    def test_spans_point_at_the_names(self) -> None:
        """Token positions of two names never overlap, exclude the ends, and differ in their ids."""
        vlm = self.make()
        prompt = self._prompt(vlm)
        flat = [i for span in prompt.spans for i in span]
        assert len(flat) == len(set(flat))
        assert min(flat) > 0
        assert max(flat) < len(prompt.token_ids) - 1
        ids = {tuple(prompt.token_ids[i] for i in span) for span in prompt.spans}
        assert len(ids) == len(self.class_names), "different names have the same ids: is the vocabulary read?"

    def test_shapes_and_grid_for_every_size(self) -> None:
        """probs and grad are (heads, T, P_h·P_w), the grid is height before width, for square and other sizes."""
        vlm = self.make()
        prompt = self._prompt(vlm)
        for steps in self.steps:
            pixels = self._pixels(vlm, steps)
            image = vlm.encode(pixels)
            grid = (pixels.shape[1] // vlm.patch_px, pixels.shape[2] // vlm.patch_px)
            assert image.grid == grid
            found = vlm.attend(image, prompt, layers=vlm.layers, head="mean", gradient="match_logit")
            shape = (vlm.heads, len(prompt.token_ids), grid[0] * grid[1])
            for attention in found:
                assert attention.grad is not None
                assert attention.grid == grid
                assert tuple(attention.probs.shape) == tuple(attention.grad.shape) == shape
                assert attention.match_logits.shape == (2,)

    def test_rows_are_probabilities(self) -> None:
        """Nothing negative, no row over 1 (less where [CLS] or text columns were dropped)."""
        for attention in self._attend(self.make()):
            assert float(attention.probs.min()) >= 0
            assert float(attention.probs.sum(dim=-1).max()) <= 1 + 1e-4

    def test_a_head_is_a_slice_of_all(self) -> None:
        """Head k, from 1, is row k − 1 of all heads."""
        vlm = self.make_exact()
        every = self._attend(vlm)
        for head in (1, vlm.heads):
            for all_heads, one in zip(every, self._attend(vlm, head=head), strict=True):
                assert relative_error(one.probs, all_heads.probs[head - 1 : head]) <= self.exact_tolerance
                assert relative_error(one.grad, all_heads.grad[head - 1 : head]) <= self.exact_tolerance

    def test_layers_come_in_the_asked_order(self) -> None:
        """Several layers at once equal each alone, in the order asked."""
        vlm = self.make_exact()
        order = tuple(reversed(vlm.layers))
        for layer, together in zip(order, self._attend(vlm, layers=order), strict=True):
            alone = self._attend(vlm, layers=(layer,))[0]
            assert relative_error(together.probs, alone.probs) <= self.exact_tolerance
            assert relative_error(together.grad, alone.grad) <= self.exact_tolerance

    def test_unknown_layer_and_head_are_refused(self) -> None:
        """The error names what there is."""
        vlm = self.make()
        for layer, head in ((max(vlm.layers) + 1, 1), (vlm.layers[0], vlm.heads + 1), (vlm.layers[0], 0)):
            message = refusal(vlm, layer, head)
            assert message is not None, f"layer {layer}, head {head} was accepted"
            assert "choose from" in message

    # The gradient.

    def test_equals_a_plain_hook(self) -> None:
        """In float64 attention, gradient and logits equal the unchanged model's, for every layer and size."""
        self._compare_with_plain(self.make_exact(), self.steps, self.exact_tolerance)

    def test_is_near_a_plain_hook_in_float32(self) -> None:
        """The same in the precision of use, loosely (see `float32_tolerance`)."""
        self._compare_with_plain(self.make(), self.steps[:1], self.float32_tolerance)

    def _compare_with_plain(self, vlm: Any, all_steps: Sequence[tuple[int, int]], tolerance: float) -> None:
        prompt = self._prompt(vlm)
        for steps in all_steps:
            pixels = self._pixels(vlm, steps)
            image = vlm.encode(pixels)
            for layer in vlm.layers:
                ours = vlm.attend(image, prompt, layers=(layer,), head="mean", gradient="match_logit")[0]
                probs, grad, logits = self.plain(vlm, pixels, prompt, layer)
                assert ours.grad is not None
                assert relative_error(ours.probs, probs) <= tolerance
                assert relative_error(ours.grad, grad) <= tolerance
                assert relative_error(ours.match_logits, logits) <= tolerance

    def test_gradient_kinds(self) -> None:
        """`none` has none; `paper-literal` is the margin's times −(1 − p), p = softmax(logits)[1]; the rest differ."""
        vlm = self.make_exact()
        for attention in self._attend(vlm, "none"):
            assert attention.grad is None
        kinds = (self._attend(vlm), self._attend(vlm, "margin"), self._attend(vlm, "paper-literal"))
        for match, margin, literal in zip(*kinds, strict=True):
            factor = -match.match_logits.softmax(dim=0)[0]
            assert relative_error(literal.grad, factor * margin.grad) <= max(self.exact_tolerance, 1e-9)
            assert bool(torch.isfinite(match.grad).all())

    def test_no_graph_below_the_layer(self) -> None:
        """Encoding keeps nothing for a backward pass, and a higher layer keeps less than a lower one."""
        vlm = self.make()
        with saved_elements() as kept:
            image = vlm.encode(self._pixels(vlm))
        assert sum(kept) == 0
        assert not any(t.requires_grad for t in tensors_of(image.tokens))
        counts = []
        for layer in (vlm.layers[0], vlm.layers[-1]):
            with saved_elements() as kept:
                self._attend(vlm, layers=(layer,))
            counts.append(sum(kept))
        assert counts[1] < counts[0] or counts == [0, 0]

    def test_results_carry_no_graph(self) -> None:
        """Maps and logits can be kept without keeping the model's activations."""
        for attention in self._attend(self.make()):
            assert not attention.probs.requires_grad
            assert not attention.grad.requires_grad
            assert not attention.match_logits.requires_grad

    def test_leaves_the_model_and_random_state_as_they_were(self) -> None:
        """Hooks, gradients, training flags, parameters and torch's random state are untouched, in training mode too."""
        vlm: Any = self.make()
        vlm.model.train()
        for parameter in vlm.model.parameters():
            parameter.requires_grad_(True)
        before, random = state_of(vlm.model), torch.get_rng_state()
        image = vlm.encode(self._pixels(vlm))
        vlm.attend(image, self._prompt(vlm), layers=vlm.layers, head="mean", gradient="match_logit")
        vlm.match(image, [self._prompt(vlm)])
        assert state_of(vlm.model) == before
        assert torch.equal(torch.get_rng_state(), random)

    def test_many_photos_match_as_each_does(self) -> None:
        """Prompts with many photos at once, where an adapter offers that, are the same as one after the other."""
        vlm: Any = self.make_exact()
        photos = [vlm.encode(self._pixels(vlm) * scale) for scale in (1.0, 0.5, -1.0)]
        if isinstance(vlm, MatchesPhotos):
            prompts = [self._prompt(vlm), self._prompt(vlm, self.class_names[0])]
            together = vlm.match_photos(torch.stack([photo.tokens for photo in photos]), prompts)
            alone = torch.stack([vlm.match(photo, prompts) for photo in photos])
            assert relative_error(together, alone) <= self.exact_tolerance

    def test_many_photos_at_once_are_as_each_alone(self) -> None:
        """Photos encoded and looked at at once, where an adapter offers that; prompts of unlike length, removed patches."""
        vlm: Any = self.make_exact()
        if not isinstance(vlm, TakesPhotos):
            raise SkipTest("one photo at a time")
        pixels = torch.stack([self._pixels(vlm, (3, 2)) * scale for scale in (1.0, 0.5, -1.0)])
        prompts = [self._prompt(vlm), self._prompt(vlm, self.class_names[0]), self._prompt(vlm, *self.class_names[1:])]
        patches = pixels.shape[2] * pixels.shape[3] // vlm.patch_px**2
        holes = torch.arange(patches) % 3 != torch.arange(3)[:, None]
        asked: dict[str, Any] = {"layers": vlm.layers, "head": "mean"}
        for visible, gradient in ((None, "match_logit"), (holes, "margin"), (holes, "none")):
            seen = [None] * 3 if visible is None else visible
            alone = [vlm.encode(*each) for each in zip(pixels, seen, strict=True)]
            together = vlm.encode_photos(pixels, visible)
            for found, image in zip(together, alone, strict=True):
                assert relative_error(found.tokens, image.tokens) <= self.exact_tolerance
                assert found.grid == image.grid
            looks = vlm.attend_photos(together, prompts, gradient=gradient, **asked)
            for found, image, prompt in zip(looks, alone, prompts, strict=True):
                self._are_equal(found, vlm.attend(image, prompt, gradient=gradient, **asked))

    def _are_equal(self, found: Sequence[CrossAttention], wanted: Sequence[CrossAttention]) -> None:
        for ours, theirs in zip(found, wanted, strict=True):
            assert relative_error(ours.probs, theirs.probs) <= self.exact_tolerance
            assert relative_error(ours.match_logits, theirs.match_logits) <= self.exact_tolerance
            assert (ours.grad is None) == (theirs.grad is None)
            if ours.grad is not None and theirs.grad is not None:
                assert relative_error(ours.grad, theirs.grad) <= self.exact_tolerance

    def test_training_mode_changes_nothing(self) -> None:
        """Dropout never runs, whatever mode the model is in."""
        vlm: Any = self.make_exact()
        quiet = self._attend(vlm)
        vlm.model.train()
        for attention, other in zip(self._attend(vlm), quiet, strict=True):
            assert relative_error(attention.probs, other.probs) <= self.exact_tolerance

    def test_pixels_are_not_touched(self) -> None:
        """The caller's tensor stays as it was."""
        vlm = self.make()
        pixels = self._pixels(vlm)
        copy = pixels.clone()
        vlm.encode(pixels)
        assert torch.equal(pixels, copy)
