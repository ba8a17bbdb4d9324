"""The contract of an adapter, second part: matching and images."""

from __future__ import annotations

from unittest import SkipTest

import torch
from torch import Tensor

from pnp_ovss.prompt import build_prompts
from pnp_ovss.testing.vlm_case import TEMPLATE, VlmCase, relative_error
from pnp_ovss.vlms.base import VisionLanguageModel


class ImageContract(VlmCase):
    """Matching in batches, long vocabularies, removed patches, the order of patches, precision."""

    # Matching.

    def test_a_batch_matches_like_one_by_one(self) -> None:
        """Texts of different lengths in one batch have the logits that each has alone: padding is masked."""
        vlm = self.make_exact()
        image = vlm.encode(self._pixels(vlm))
        prompts = [self._prompt(vlm, name) for name in self.class_names] + [self._prompt(vlm)] * 15
        together = vlm.match(image, prompts)
        assert together.shape == (len(prompts), 2)
        assert not together.requires_grad
        alone = torch.cat([vlm.match(image, [prompt]) for prompt in prompts])
        assert relative_error(together, alone) <= self.exact_tolerance

    def test_attend_and_match_agree(self) -> None:
        """The logits beside the map are those of matching."""
        vlm = self.make_exact()
        image = vlm.encode(self._pixels(vlm))
        prompt = self._prompt(vlm)
        matched = vlm.match(image, [prompt])[0]
        for attention in vlm.attend(image, prompt, layers=vlm.layers, head="mean", gradient="match_logit"):
            assert relative_error(attention.match_logits, matched) <= self.exact_tolerance

    def test_long_lists_go_in_chunks(self) -> None:
        """A vocabulary over the text limit becomes several prompts that hold every name once, and each is accepted."""
        vlm = self.make()
        names = [f"{name} {i}" for i in range(40) for name in self.class_names]
        prompts = build_prompts(names, TEMPLATE, vlm.tokenize, vlm.max_tokens)
        assert [name for prompt in prompts for name in prompt.class_names] == names
        assert max(len(prompt.token_ids) for prompt in prompts) <= vlm.max_tokens
        assert len(prompts) > 1 or len(prompts[0].token_ids) <= vlm.max_tokens
        image = vlm.encode(self._pixels(vlm))
        for prompt in prompts[:2]:
            found = vlm.attend(image, prompt, layers=vlm.layers[:1], head=1, gradient="match_logit")[0]
            assert found.probs.shape[1] == len(prompt.token_ids)

    # Images.

    def test_patch_tokens_are_the_patches_that_the_text_looks_at(self) -> None:
        """One token a patch, in the grid's order, without [CLS]; a removed patch has none; another photo has others."""
        vlm = self.make()
        pixels = self._pixels(vlm)
        whole = vlm.encode(pixels)
        tokens = vlm.patch_tokens(whole)
        assert tokens.ndim == 2
        assert len(tokens) == whole.grid[0] * whole.grid[1]
        assert bool(torch.isfinite(tokens).all())
        visible = torch.ones(len(tokens), dtype=torch.bool)
        visible[::3] = False
        assert len(vlm.patch_tokens(vlm.encode(pixels, visible))) == int(visible.sum())
        assert relative_error(vlm.patch_tokens(vlm.encode(1 - pixels)), tokens) > 1e-3
        changed = pixels.clone()
        changed[:, : pixels.shape[1] // 2] = changed[:, : pixels.shape[1] // 2].flip(1)
        moved = (vlm.patch_tokens(vlm.encode(changed)) - tokens).norm(dim=1).reshape(whole.grid)
        top, bottom = moved.split((whole.grid[0] // 2, whole.grid[0] - whole.grid[0] // 2))
        assert float(top.mean()) > float(bottom.mean()), "the top was changed and the tokens of the bottom moved more"

    def test_removed_patches_are_zero_and_the_rest_changes_place_with_none(self) -> None:
        """With patches removed the maps keep their size, zero where a patch left; with none removed nothing changes."""
        vlm = self.make_exact()
        pixels, prompt = self._pixels(vlm), self._prompt(vlm)
        whole = vlm.encode(pixels)
        visible = torch.ones(whole.grid[0] * whole.grid[1], dtype=torch.bool)
        options = {"layers": vlm.layers[:1], "head": "mean", "gradient": "match_logit"}
        full = vlm.attend(whole, prompt, **options)[0]
        same = vlm.attend(vlm.encode(pixels, visible), prompt, **options)[0]
        assert relative_error(same.probs, full.probs) <= self.exact_tolerance
        visible[::2] = False
        holed = vlm.attend(vlm.encode(pixels, visible), prompt, **options)[0]
        assert holed.probs.shape == full.probs.shape
        assert holed.grad is not None
        assert not bool(holed.probs[..., ~visible].any())
        assert not bool(holed.grad[..., ~visible].any())
        assert bool((holed.probs[..., visible] > 0).any())

    def test_patches_are_row_major(self) -> None:
        """With only one patch left, its own pixels decide the match, and a far patch's hardly or not at all."""
        vlm = self.make()
        pixels = self._pixels(vlm, self.steps[-1])
        rows, columns = pixels.shape[1] // vlm.patch_px, pixels.shape[2] // vlm.patch_px
        for row, column in ((0, columns - 1), (rows - 1, 0)):
            visible = torch.zeros(rows * columns, dtype=torch.bool)
            visible[row * columns + column] = True
            own, far = (row, column), (rows - 1 - row, columns - 1 - column)
            logits = [self._match_with(vlm, pixels, visible, place) for place in (None, own, far)]
            assert (logits[1] - logits[0]).abs().max() > 2 * (logits[2] - logits[0]).abs().max()

    def _match_with(
        self, vlm: VisionLanguageModel, pixels: Tensor, visible: Tensor, place: tuple[int, int] | None
    ) -> Tensor:
        changed, side = pixels.clone(), vlm.patch_px
        if place is not None:
            top, left = place[0] * side, place[1] * side
            changed[:, top : top + side, left : left + side] += 2
        return vlm.match(vlm.encode(changed, visible), [self._prompt(vlm)])

    def test_same_input_same_output(self) -> None:
        """Bit for bit, twice."""
        vlm = self.make()
        for attention, again in zip(self._attend(vlm), self._attend(vlm), strict=True):
            assert torch.equal(attention.probs, again.probs)
            assert torch.equal(attention.grad, again.grad)

    def test_precisions_agree(self) -> None:
        """bfloat16 logits are near float32's and come out as float32."""
        if not self.precisions:
            raise SkipTest("one precision only")
        reference = self._attend(self.make())[0]
        for precision in self.precisions:
            found = self._attend(self.make(precision))[0]
            assert found.match_logits.dtype == torch.float32
            assert relative_error(found.match_logits, reference.match_logits) <= self.bfloat16_tolerance
            assert relative_error(found.probs.float(), reference.probs) <= 2 * self.bfloat16_tolerance
