"""The queue before the model: one job at a time, a bounded number waiting, none for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class LineFullError(Exception):
    """So many wait already that another one is turned away."""


class Line:
    """Runs jobs one after the other in a thread of its own.

    waiting: how many may wait beside the one that runs. timeout_s: how long a job may take with its waiting; one that runs
    then goes on to its end and is forgotten, one that waits is dropped.
    """

    def __init__(self, waiting: int, timeout_s: float) -> None:
        self._room, self._timeout_s = waiting + 1, timeout_s
        self.held = 0
        """Jobs that run or wait."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="segment")

    async def run(self, job: Callable[[], T]) -> T:
        """What the job gives. Raises LineFullError, TimeoutError, and what the job raises."""
        if self.held >= self._room:
            raise LineFullError
        self.held += 1
        future = self._thread.submit(job)
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: None if loop.is_closed() else loop.call_soon_threadsafe(self._leave))
        return await asyncio.wait_for(asyncio.wrap_future(future), self._timeout_s)

    def _leave(self) -> None:
        self.held -= 1

    def close(self) -> None:
        """Drop what waits, and wait for the job that runs."""
        self._thread.shutdown(wait=True, cancel_futures=True)
