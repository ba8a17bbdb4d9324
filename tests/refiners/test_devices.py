"""Refiners on devices that lack an operation."""

import numpy as np
import pytest
import torch

from pnp_ovss.refiners import refine_photo


class Elsewhere(torch.Tensor):
    """A tensor that says that it is on MPS."""

    @property
    def device(self):
        return torch.device("mps:0")

    def cpu(self):
        return self.as_subclass(torch.Tensor)


class CpuOnly:
    name = "cpu-only"

    def refine(self, image, scores, evidence=None):
        if scores.device.type != "cpu":
            raise NotImplementedError("The operator 'aten::_embedding_bag' is not implemented for MPS\nmore")
        return scores.flip(0)


def test_a_refiner_whose_operation_the_device_lacks_works_on_the_cpu_and_says_so_once(caplog):
    scores = torch.rand(2, 4, 5)
    for _ in range(2):
        refined = refine_photo(CpuOnly(), np.zeros((4, 5, 3), np.uint8), scores.as_subclass(Elsewhere))
        assert (refined == scores.flip(0)).all()
    assert caplog.text.count("the refiner works on the CPU, mps:0 cannot do it") == 1
    assert "more" not in caplog.text


def test_on_the_cpu_itself_it_is_an_error():
    class Never:
        name = "never"

        def refine(self, image, scores, evidence=None):
            raise NotImplementedError("nowhere")

    with pytest.raises(NotImplementedError, match="nowhere"):
        refine_photo(Never(), np.zeros((4, 5, 3), np.uint8), torch.rand(2, 4, 5))
