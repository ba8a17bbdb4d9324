"""bfloat16 on a CPU without instructions for it: products in float32, memory of bfloat16."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from pnp_ovss.prompt import build_prompt
from pnp_ovss.testing.small_decoders import chat_files, small_decoder
from pnp_ovss.vlms import upcast
from pnp_ovss.vlms.decoder import DecoderVLM
from tests.vlms import test_contract as contract

aten = torch.ops.aten
PRODUCTS = {aten.mm, aten.addmm, aten.bmm, aten.baddbmm, aten.convolution, aten.mkldnn_convolution, aten.dot, aten.mv}
MAKERS = {
    "blip": contract.TestBlip().make,
    "bridgetower": contract.TestBridgeTower().make,
    "blip2": contract.TestBlip2().make,
    "vilt": contract.TestVilt().make,
    "pocket": contract.TestPocket().make,
    "llava": lambda precision: DecoderVLM(small_decoder("llava"), chat_files("llava"), precision=precision),
    "qwen3_vl": lambda precision: DecoderVLM(small_decoder("qwen3_vl"), chat_files("qwen3_vl"), precision=precision),
}


class Slow(TorchDispatchMode):
    """Notes the products that are computed in bfloat16."""

    def __init__(self):
        super().__init__()
        self.found = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        tensors = [value for value in args if isinstance(value, torch.Tensor)]
        product = func.overloadpacket in PRODUCTS or "attention" in str(func)
        if product and any(tensor.dtype is torch.bfloat16 for tensor in tensors):
            self.found.add(str(func))
        return func(*args, **(kwargs or {}))


def ask(vlm):
    """All that an adapter computes."""
    side = 2 * vlm.size_step_px
    pixels = torch.randn(3, side, side, generator=torch.Generator().manual_seed(0))
    prompt = build_prompt(("cat", "dog"), "A picture of {classes}", vlm.tokenize)
    image = vlm.encode(pixels)
    found = vlm.attend(image, prompt, layers=vlm.layers, head="mean", gradient="match_logit")
    return vlm.match(image, [prompt]), found[0].probs, found[0].grad


@pytest.mark.parametrize("family", MAKERS)
def test_no_product_is_left_to_the_slow_kernels(family, monkeypatch):
    for instructions in (True, False):
        monkeypatch.setattr(upcast, "has_bfloat16", lambda _, there=instructions: there)
        with Slow() as slow:
            found = ask(MAKERS[family]("bfloat16"))
        assert bool(slow.found) is instructions
    for ours, exact in zip(found, ask(MAKERS[family]("float32")), strict=True):
        largest = float(exact.abs().max())
        torch.testing.assert_close(ours.float(), exact, rtol=0, atol=0.15 * largest)


def numbers(*size):
    return torch.randn(*size, generator=torch.Generator().manual_seed(sum(size))).bfloat16()


def rounded(found, exact):
    """The same but for bfloat16, two steps of which (2^-8 each) may lie between sums in another order."""
    torch.testing.assert_close(found.float(), exact, rtol=2**-7, atol=2**-7)


@pytest.mark.parametrize(
    "product",
    [
        lambda t: F.linear(t(3, 4, 8), t(5, 8), bias=t(5)),
        lambda t: F.linear(t(3, 8), t(5, 8)),
        lambda t: torch.matmul(t(2, 3, 8), t(8, 5)),
        lambda t: t(2, 3, 8) @ t(8, 5),
        lambda t: t(2, 3, 8).bmm(t(2, 8, 5)),
        lambda t: torch.baddbmm(t(2, 3, 5), t(2, 3, 8), t(2, 8, 5), beta=0.5),
        lambda t: torch.einsum("bnd,bmd->bnm", t(2, 3, 8), t(2, 5, 8)),
        lambda t: F.conv2d(t(1, 4, 9, 9), t(6, 2, 3, 3), t(6), stride=2, groups=2),
        lambda t: F.conv3d(t(1, 4, 2, 6, 6), t(6, 4, 2, 3, 3)),
        lambda t: F.scaled_dot_product_attention(t(1, 2, 3, 8), t(1, 2, 5, 8), t(1, 2, 5, 8), attn_mask=t(1, 2, 3, 5)),
    ],
)
def test_a_product_is_that_of_float32_rounded(product):
    with upcast.Float32Products(), Slow() as slow:
        found = product(numbers)
    assert not slow.found
    assert found.dtype is torch.bfloat16
    rounded(found, product(lambda *size: numbers(*size).float()))


@pytest.mark.parametrize("at_once", [1, 24, 10**6])
def test_large_weights_go_part_by_part(monkeypatch, at_once):
    """Eight inputs: one output at a time, three, all five."""
    monkeypatch.setattr(upcast, "AT_ONCE", at_once)
    x, weight, bias = numbers(7, 8).requires_grad_(), numbers(5, 8), numbers(5)
    with upcast.Float32Products():
        out = F.linear(x, weight, bias)
    (grad,) = torch.autograd.grad(out.float().sum(), x)
    rounded(out, F.linear(x.float(), weight.float(), bias.float()))
    rounded(grad, weight.float().sum(0).expand(7, 8))


def test_other_numbers_are_left_alone():
    with upcast.Float32Products():
        for kind in (torch.float32, torch.float64):
            x, weight = torch.randn(3, 8, dtype=kind), torch.randn(5, 8, dtype=kind)
            torch.testing.assert_close(F.linear(x, weight), x @ weight.T, rtol=1e-4, atol=1e-4)
            assert (x @ weight.T).dtype is kind


def test_gradients_are_those_of_float32_and_no_float32_weights_are_kept():
    kept = []
    x, weights = numbers(7, 8).requires_grad_(), [numbers(8, 8), numbers(8, 8)]
    with upcast.Float32Products(), torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        out = F.linear(F.linear(x, weights[0]), weights[1])
    (grad,) = torch.autograd.grad(out.float().square().sum(), x)

    exact = x.detach().float().requires_grad_()
    plain = F.linear(F.linear(exact, weights[0].float()), weights[1].float())
    (expected,) = torch.autograd.grad(plain.square().sum(), exact)
    assert [t.dtype for t in kept] == [torch.bfloat16, torch.bfloat16]
    torch.testing.assert_close(grad.float(), expected, rtol=0.02, atol=0.02 * float(expected.abs().max()))


def test_nothing_changes_where_it_need_not(monkeypatch):
    slow, fast = torch.nn.Linear(2, 2).bfloat16(), torch.nn.Linear(2, 2)
    for instructions in (True, False):
        monkeypatch.setattr(upcast, "has_bfloat16", lambda _, there=instructions: there)
        for model in (slow, fast):
            changed = isinstance(upcast.products_of(model), upcast.Float32Products)
            assert changed == (model is slow and not instructions)
