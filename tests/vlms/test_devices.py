"""Devices, and the precision that each is good at."""

import os
import subprocess
import sys

import pytest
import torch
from PIL import Image

from pnp_ovss import Segmenter
from pnp_ovss.errors import ConfigError
from pnp_ovss.vlms.devices import has_bfloat16, pick_device, pick_precision
from tests.scenes import two_squares

CPU = torch.device("cpu")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_goes_on_with_one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        child = os.fork()
        if not child:
            os._exit(10 + torch.get_num_threads())
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 11
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_of_a_used_process_does_not_hang(tmp_path):
    Image.fromarray(two_squares()).save(tmp_path / "a.png")
    run = subprocess.run(
        [sys.executable, "-c", FORKING, str(tmp_path / "a.png")],
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.stdout.strip() == "[True]", run.stderr


FORKING = """
import multiprocessing, sys
from pnp_ovss import Segmenter

segmenter = Segmenter.from_pretrained("pocket", refine="none")
before = segmenter(sys.argv[1], ["cat"]).labels


def child(_):
    return bool((segmenter(sys.argv[1], ["cat"]).labels == before).all())


with multiprocessing.get_context("fork").Pool(1) as pool:
    print(pool.map_async(child, [0]).get(timeout=300))
"""


@pytest.fixture(params=[True, False])
def bfloat16(request, monkeypatch):
    """A CPU with, and one without the instructions."""
    found = {"avx2": True, "avx512_bf16": request.param}
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: found, raising=False)
    return request.param


@pytest.mark.parametrize(("cuda", "mps", "found"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_auto_takes_the_fastest_device_there_is(monkeypatch, cuda, mps, found):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert str(pick_device("auto")) == found


def test_devices():
    assert pick_device("cpu") == CPU
    with pytest.raises(ConfigError, match="unknown device"):
        pick_device("toaster")


def test_auto_is_what_the_cpu_has_instructions_for(bfloat16):
    assert has_bfloat16(CPU) is bfloat16
    assert pick_precision("auto", "cpu") == ("bfloat16" if bfloat16 else "float32")
    assert pick_precision("bfloat16-vision", "cpu") == "bfloat16-vision"


def test_auto_on_cuda_asks_cuda(monkeypatch):
    for answer in (True, False):
        monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation, there=answer: there)
        assert has_bfloat16(torch.device("cuda")) is answer
    assert not has_bfloat16(torch.device("mps"))


def test_results_say_what_auto_was(bfloat16):
    segmenter = Segmenter.from_pretrained("pocket", precision="auto", device="cpu")

    expected = torch.bfloat16 if bfloat16 else torch.float32
    assert segmenter.config.precision == ("bfloat16" if bfloat16 else "float32")
    assert {p.dtype for p in segmenter.vlm.model.parameters()} == {expected}
