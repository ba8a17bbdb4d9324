"""The search's journal on disk: optuna's file of operations under a lock that dies with its process."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pnp_ovss.errors import OutputError
from pnp_ovss.files import writing

WAIT_S = 15.0
"""How long another process may keep the lock; it is held for one write, some milliseconds."""
_POLL_S = 0.01


class JournalLock:
    """What optuna asks of a lock (`acquire`, `release`), by `flock`: the system frees it with its process.

    optuna's own lock is a link that a killed process leaves behind; where its path is relative, the link points
    nowhere and later runs wait for it for ever.
    """

    def __init__(
        self, path: Path, *, now: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._path, self._now, self._sleep = path, now, sleep
        self._file: IO[bytes] | None = None

    def acquire(self) -> bool:
        """Wait for the lock. Raises OutputError after `WAIT_S`."""
        import fcntl

        file = self._path.open("ab")
        end = self._now() + WAIT_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._now() < end:
                    self._sleep(_POLL_S)
                    continue
                file.close()
                raise OutputError(
                    f"{self._path} has been locked by another process for {WAIT_S:g} s; end that one, or choose "
                    "another place for the result"
                ) from None
            self._file = file
            return True

    def release(self) -> None:
        """Free the lock."""
        if self._file is not None:
            self._file.close()
            self._file = None


def open_journal(optuna: Any, path: Path) -> Any:
    """optuna's storage over the file at `path`; a last line that a killed run left unfinished is cut off.

    Raises OutputError when the file cannot be written, or is damaged.
    """
    path = path.absolute()
    lock = _lock(path)
    with damage_told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _cut_torn_line(path, lock)
        backend = optuna.storages.journal.JournalFileBackend(str(path), lock_obj=lock)
        return optuna.storages.JournalStorage(backend)


@contextmanager
def damage_told(path: Path | None) -> Generator[None]:
    """What reading or writing the journal raises, as one OutputError."""
    try:
        with writing(path or ""):
            yield
    except OutputError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise OutputError(
            f"the journal {path} is damaged ({type(error).__name__}: {error}); move it away and start again"
        ) from error


def _lock(path: Path) -> Any:
    try:
        import fcntl  # noqa: F401
    except ImportError:  # no such locks on this system: optuna's, which takes over after half a minute
        return None
    return JournalLock(path.with_name(path.name + ".flock"))


def _cut_torn_line(path: Path, lock: JournalLock | None) -> None:
    """optuna would write the next operation behind it, on the same line."""
    if not path.exists():
        return
    if lock:
        lock.acquire()
    try:
        data = path.read_bytes()
        if data and not data.endswith(b"\n"):
            with path.open("rb+") as file:
                file.truncate(data.rfind(b"\n") + 1)
    finally:
        if lock:
            lock.release()
