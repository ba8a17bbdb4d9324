"""Completion by the affinity of image tokens, against loops and by hand."""

import pytest
import torch

from pnp_ovss import Segmenter, completion
from pnp_ovss.completion import complete
from pnp_ovss.testing.fake_vlm import FakeVLM
from tests.near import equal, near
from tests.scenes import two_squares
from tests.segmented import CONFIG


def slowly(maps, tokens, power):
    """The formula, one number at a time."""
    flat, found = maps.flatten(1).tolist(), []
    for row in flat:
        values = []
        for one in tokens:
            weights = []
            for other in tokens:
                cosine = float(one @ other) / max(float(one.norm() * other.norm()), 1e-12)
                weights.append(max(0.0, cosine) ** power)
            values.append(sum(w * s for w, s in zip(weights, row, strict=True)) / max(sum(weights), 1e-30))
        found.append(values)
    return torch.tensor(found, dtype=torch.float64).reshape(maps.shape)


@pytest.mark.parametrize("power", [1, 12, 16.5])
def test_equals_the_loops(power):
    generator = torch.Generator().manual_seed(1)
    maps = torch.rand(3, 4, 4, generator=generator, dtype=torch.float64)
    tokens = torch.randn(16, 5, generator=generator, dtype=torch.float64)
    equal(complete(maps, tokens, power), slowly(maps, tokens, power))
    near(complete(maps.float(), tokens.float(), power), slowly(maps, tokens, power).float())


def test_by_hand_on_four_by_four():
    """Left half one kind of token, right half another at 60 degrees: cosine 1/2, to the power 2 a quarter."""
    tokens = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5], [0.5, 0.75**0.5]], dtype=torch.float64).repeat(
        4, 1
    )
    maps = torch.zeros(1, 4, 4, dtype=torch.float64)
    maps[0, 0, 0] = 10
    found = complete(maps, tokens, 2)
    # 8 tokens of weight 1 and 8 of weight 1/4 about each; the marked one counts 1 on its side, 1/4 on the other
    equal(found[0, :, :2], torch.ones(4, 2).double())
    equal(found[0, :, 2:], torch.full((4, 2), 0.25).double())


def test_in_parts_as_at_once_and_within_the_maps_range(monkeypatch):
    generator = torch.Generator().manual_seed(2)
    maps, tokens = torch.rand(2, 6, 5, generator=generator).double(), torch.randn(30, 4, generator=generator).double()
    whole = complete(maps, tokens, 8)
    monkeypatch.setattr(completion, "ROWS_AT_ONCE", 7)
    equal(complete(maps, tokens, 8), whole)
    assert (whole.amax(dim=(1, 2)) <= maps.amax(dim=(1, 2)) + 1e-9).all()
    assert (whole.amin(dim=(1, 2)) >= maps.amin(dim=(1, 2)) - 1e-9).all()


def test_tokens_of_zeros_and_half_precision():
    maps, tokens = torch.rand(1, 2, 2), torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    found = complete(maps, tokens, 16)
    assert found[0, 0, 0] == 0
    assert torch.isfinite(found).all()
    assert complete(maps, tokens.bfloat16(), 16).dtype == torch.float32


def test_the_maps_of_a_result_are_completed():
    segmenter = Segmenter(FakeVLM(), CONFIG.replace(drops=0))
    trace = segmenter.look(segmenter.prepare(two_squares(), ["red", "blue"]))
    plain = segmenter.sum_maps(trace)
    whole = segmenter.replace(completion="affinity", affinity_power=20.0).sum_maps(trace)
    expected = complete(plain, segmenter.vlm.patch_tokens(trace.prepared.features), 20.0)
    near(whole, expected)
    assert not torch.allclose(whole, plain, atol=1e-2)
