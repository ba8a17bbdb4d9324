"""The journal of a search: a lock that cannot outlive its process, torn ends, damage."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pnp_ovss.errors import OutputError, PnPError
from pnp_ovss.tuning.journal import WAIT_S, JournalLock
from pnp_ovss.tuning.search import Search, SearchPlan
from tests.tuning.test_search import SPACE, Objective

PLAN = SearchPlan(trials=3, shards=1)


def test_a_killed_search_with_a_relative_journal_leaves_no_lock(tmp_path, monkeypatch):
    """The process dies with the lock in its hands; optuna's own would be a link to nowhere."""
    script = (
        "import os, pathlib; from pnp_ovss.tuning import journal; import optuna\n"
        "storage = journal.open_journal(optuna, pathlib.Path('x.journal'))\n"
        "journal.JournalLock(pathlib.Path('x.journal.flock')).acquire(); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False).returncode == -9
    os.symlink("x.journal", tmp_path / "x.journal.lock")  # what a killed older version left
    monkeypatch.chdir(tmp_path)
    Search(SPACE, PLAN, journal=Path("x.journal")).run(Objective(), resume=True)
    assert len(Search(SPACE, PLAN, journal=tmp_path / "x.journal").trials()) == 3


def test_a_lock_that_is_held_is_waited_for_and_then_told(tmp_path):
    now = 0.0

    def sleep(seconds):
        nonlocal now
        now += 1.0

    holder = JournalLock(tmp_path / "lock")
    assert holder.acquire()
    waiting = JournalLock(tmp_path / "lock", now=lambda: now, sleep=sleep)
    with pytest.raises(OutputError, match="locked by another process for 15 s"):
        waiting.acquire()
    assert now == WAIT_S
    holder.release()
    assert waiting.acquire()
    waiting.release()


def test_a_last_line_that_is_torn_is_tried_again(tmp_path):
    journal = tmp_path / "journal"
    Search(SPACE, PLAN, journal=journal).run(Objective())
    whole = Search(SPACE, PLAN, journal=journal).trials()
    journal.write_bytes(journal.read_bytes()[:-7])
    again = Objective()
    Search(SPACE, PLAN, journal=journal).run(again, resume=True)
    assert len(again.points) == 1
    assert Search(SPACE, PLAN, journal=journal).trials() == whole


def test_a_damaged_journal_is_one_line(tmp_path):
    journal = tmp_path / "journal"
    Search(SPACE, PLAN, journal=journal).run(Objective())
    lines = journal.read_bytes().split(b"\n")
    for damage in (b"no json", b"{}", b"[1]", b'{"op_code": 99}', b"\xff"):
        journal.write_bytes(b"\n".join([*lines[:3], damage, *lines[3:]]))
        with pytest.raises(OutputError, match=r"journal .* is damaged"):
            Search(SPACE, PLAN, journal=journal).run(Objective(), resume=True)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 6000), noise=st.binary(min_size=1, max_size=6))
def test_whatever_happened_to_the_journal_there_is_no_traceback_and_no_hang(tmp_path, place, noise):
    journal = tmp_path / "journal"
    journal.unlink(missing_ok=True)
    Search(SPACE, PLAN, journal=journal).run(Objective())
    data = journal.read_bytes()
    place %= len(data)
    journal.write_bytes(data[:place] + noise + data[place + len(noise) :])
    start = time.monotonic()
    with suppress(PnPError):
        search = Search(SPACE, PLAN, journal=journal)
        search.run(Objective(), resume=True)
        search.trials()
    assert time.monotonic() - start < 20


def test_a_journal_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write to"):
        Search(SPACE, PLAN, journal=tmp_path / "file" / "journal")
