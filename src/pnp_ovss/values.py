"""Values: what stands in them stays as it was made."""

from __future__ import annotations

from typing import Any

import numpy as np


class Value:
    """Base of frozen dataclasses whose arrays are read-only, in copies and after a pickle, too; numpy alone forgets it there.

    The caller's own array stays writable: the value holds a view of it.
    """

    def __post_init__(self) -> None:
        for name, array in vars(self).items():
            if isinstance(array, np.ndarray):
                view = array.view()
                view.flags.writeable = False
                object.__setattr__(self, name, view)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.__post_init__()
