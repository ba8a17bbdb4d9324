"""What holds for a while: variables of the environment, deafness to Ctrl+C."""

import os
import signal
from collections.abc import Generator, Mapping
from contextlib import contextmanager


@contextmanager
def environment(values: Mapping[str, str]) -> Generator[None]:
    """Set these variables; afterwards they are as before."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def uninterrupted() -> Generator[None]:
    """Processes that are started in the block never hear Ctrl+C, which reaches the whole group: they end what they are at."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
