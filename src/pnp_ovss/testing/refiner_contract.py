"""What every refiner must do, as a test class for plug-in authors; needs pytest only to be run.

class TestMine(RefinerContract):
    def make_refiner(self):
        return Mine()
"""

from __future__ import annotations

import numpy as np
import torch

from pnp_ovss.errors import RefinerError
from pnp_ovss.refiners import Evidence, Refiner, refine_photo

SIZES = [(1, 1), (1, 23), (17, 1), (2, 2), (13, 19)]
"""Height and width of the pictures tried: single pixels, rows and columns included."""


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture (height, width, 3) uint8 of random colours."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def random_scores(channels: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Scores (channels, height, width) float32 in [0, 1)."""
    return torch.rand(channels, height, width, generator=torch.Generator().manual_seed(seed))


def near(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal to 1e-4: sums of float32 depend on the processor and their order by some 1e-6, over ten rounds by 1e-5."""
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def two_halves() -> tuple[np.ndarray, torch.Tensor, np.ndarray]:
    """A dark and a light half with a little noise, blurred noisy scores (2, H, W), and the right labels (H, W)."""
    height, width = 24, 32
    labels = np.zeros((height, width), dtype=np.int64)
    labels[:, width // 2 :] = 1
    image = (labels[..., None] * 150 + 40 + picture(height, width) % 8).astype(np.uint8)
    ramp = torch.linspace(0, 1, width).expand(height, width)
    scores = torch.stack([1 - ramp, ramp]) + 0.8 * random_scores(2, height, width)
    return image, scores, labels


def some_evidence(channels: int) -> Evidence:
    """Background and classes with maps (channels, 4, 5) in [0, 1), background's 0."""
    maps = random_scores(channels, 4, 5)
    maps[0] = 0
    return Evidence(("", *(f"class {i}" for i in range(1, channels))), maps)


def refiner_error(
    refiner: Refiner, image: np.ndarray, scores: torch.Tensor, evidence: Evidence | None = None
) -> str | None:
    """The message of the RefinerError that `refiner` raises on these inputs, None where it raises none."""
    try:
        refiner.refine(image, scores, evidence)
    except RefinerError as error:
        return str(error)
    return None


class RefinerContract:
    """Inherit as a class called Test..., define `make_refiner`, and pytest runs the contract on your refiner."""

    def make_refiner(self) -> Refiner:
        """The refiner under test."""
        raise NotImplementedError("define make_refiner() in your test class")

    def test_it_is_a_refiner_with_a_name(self) -> None:
        refiner = self.make_refiner()
        assert isinstance(refiner, Refiner)
        assert isinstance(refiner.name, str)
        assert refiner.name

    def test_any_size_gives_finite_float32_scores_of_the_same_shape(self) -> None:
        for height, width in SIZES:
            for channels in (1, 2, 5):
                scores = random_scores(channels, height, width)
                refined = self.make_refiner().refine(picture(height, width), scores)
                assert refined.shape == scores.shape
                assert refined.dtype == torch.float32
                assert refined.device == scores.device
                assert torch.isfinite(refined).all()
                assert (refined >= 0).all()

    def test_inputs_stay_as_they_are(self) -> None:
        image, scores = picture(13, 19), random_scores(3, 13, 19)
        image_before, scores_before = image.copy(), scores.clone()
        image.flags.writeable = False
        refined = self.make_refiner().refine(image, scores)
        refined += 1
        assert np.array_equal(image, image_before)
        assert torch.equal(scores, scores_before)

    def test_results_are_repeatable_and_random_state_is_left_alone(self) -> None:
        image, scores = picture(13, 19), random_scores(3, 13, 19)
        state = torch.random.get_rng_state()
        first, second = self.make_refiner().refine(image, scores), self.make_refiner().refine(image, scores)
        assert torch.equal(first, second)
        assert torch.equal(state, torch.random.get_rng_state())

    def test_gradients_and_inference_mode_do_not_leak(self) -> None:
        image, scores = picture(13, 19), random_scores(3, 13, 19)
        refined = self.make_refiner().refine(image, scores.clone().requires_grad_())
        assert not refined.requires_grad
        with torch.inference_mode():
            inside = self.make_refiner().refine(image, scores)
        after = self.make_refiner().refine(image, scores)
        assert torch.equal(inside.clone(), after)
        assert not after.is_inference()

    def test_layout_and_floating_dtype_do_not_matter(self) -> None:
        image, scores = picture(13, 19), random_scores(3, 13, 19).half().float()
        expected = self.make_refiner().refine(image, scores)
        strided = scores.permute(2, 1, 0).contiguous().permute(2, 1, 0)
        fortran = np.asfortranarray(image)
        near(self.make_refiner().refine(fortran, strided), expected)
        near(self.make_refiner().refine(image, scores.half()), expected)
        near(self.make_refiner().refine(image, scores.double()), expected)

    def test_the_order_of_the_channels_does_not_matter(self) -> None:
        image, scores = picture(13, 19), random_scores(4, 13, 19)
        order = [2, 0, 3, 1]
        refined = self.make_refiner().refine(image, scores)
        near(self.make_refiner().refine(image, scores[order]), refined[order])

    def test_equal_scores_stay_equal(self) -> None:
        for value in (0.0, 0.5):
            refined = self.make_refiner().refine(picture(13, 19), torch.full((3, 13, 19), value))
            near(refined, refined[:1].expand_as(refined))

    def test_a_picture_of_one_colour_is_no_problem(self) -> None:
        for value in (0, 255):
            image = np.full((13, 19, 3), value, dtype=np.uint8)
            assert torch.isfinite(self.make_refiner().refine(image, random_scores(3, 13, 19))).all()

    def test_refining_does_not_lose_what_the_picture_makes_plain(self) -> None:
        image, scores, labels = two_halves()
        refined = self.make_refiner().refine(image, scores)
        before = (scores.argmax(0).numpy() == labels).mean()
        assert (refined.argmax(0).numpy() == labels).mean() >= before

    def test_no_class_loses_the_core_it_is_to_keep(self) -> None:
        for seed in range(3):
            image, scores = picture(13, 19, seed), random_scores(5, 13, 19, seed)
            scores[3] *= 1.5  # a strong neighbour of weak classes
            kept = refine_photo(self.make_refiner(), image, scores, keep=0.3).argmax(0)
            owners = scores.argmax(0)
            for channel in owners.unique():
                assert (kept[owners == channel] == channel).double().mean() >= 0.3

    def test_evidence_is_taken_and_not_written_to(self) -> None:
        image, scores, evidence = picture(13, 19), random_scores(3, 13, 19), some_evidence(3)
        maps = evidence.maps.clone()
        refined = self.make_refiner().refine(image, scores, evidence)
        assert refined.shape == scores.shape
        assert torch.isfinite(refined).all()
        assert torch.equal(evidence.maps, maps)
        kept = refine_photo(self.make_refiner(), image, scores, evidence, keep=0.3).argmax(0)
        owners = scores.argmax(0)
        assert all((kept[owners == c] == c).double().mean() >= 0.3 for c in owners.unique())

    def test_evidence_of_other_channels_raises_a_refiner_error(self) -> None:
        message = refiner_error(self.make_refiner(), picture(13, 19), random_scores(3, 13, 19), some_evidence(2))
        assert message
        assert "2 names and 2 maps" in message

    def test_inputs_that_do_not_fit_raise_refiner_errors(self) -> None:
        image, scores = picture(13, 19), random_scores(3, 13, 19)
        broken = scores.clone()
        broken[1, 2, 3] = float("nan")
        for bad_image, bad_scores in [
            (image, broken),
            (image, scores / 0),
            (image, scores[:, :-1]),
            (image, scores[0]),
            (image, scores[:0]),
            (image, scores.long()),
            (image.astype(np.float32), scores),
            (image[..., :1], scores),
            (np.concatenate([image, image[..., :1]], axis=2), scores),
            (image.transpose(2, 0, 1), scores),
        ]:
            message = refiner_error(self.make_refiner(), bad_image, bad_scores)
            assert message, f"no RefinerError for image {bad_image.shape}, scores {tuple(bad_scores.shape)}"
            assert "\n" not in message
