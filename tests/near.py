"""How near two ways to one number must be.

In float64 to 1e-9 of it: rounding cannot hide a fault there. In float32 loosely: its sums depend on the processor, on the
number of threads and on how many rows are computed at once, by some 1e-5; a wrong step is off by more than 1e-2. Labels
are the argmax of such sums: where two scores are equal but for rounding, either may win.
"""

import numpy as np
import torch


def equal(found, expected) -> None:
    """The same numbers in float64."""
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def near(found, expected, *, atol=1e-4) -> None:
    """The same numbers in float32, on any processor."""
    found, expected = (x if isinstance(x, torch.Tensor) else torch.tensor(x) for x in (found, expected))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=atol)


def same_labels(found, expected, *, least=0.999) -> None:
    """Label images of which so large a share of the pixels is equal."""
    assert found.shape == expected.shape
    assert (np.asarray(found) == np.asarray(expected)).mean() >= least
