"""What a step took."""

import time
from collections.abc import Generator
from contextlib import contextmanager


class Clock:
    """Wall time by step, seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Generator[None]:
        """Time the block that follows as `step`."""
        start = time.perf_counter()
        yield
        self.seconds[step] = time.perf_counter() - start
