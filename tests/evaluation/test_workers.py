"""Killed runs and runs in several processes give the numbers of a whole one in one."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pnp_ovss.environment import uninterrupted
from pnp_ovss.errors import ModelError, OutputError
from pnp_ovss.evaluation.records import read_records
from pnp_ovss.evaluation.report import summarise
from pnp_ovss.evaluation.run import RunOptions, run
from tests.evaluation.bright import Bright

KILLED = """
import sys, time
from pathlib import Path
import numpy as np
from pnp_ovss.datasets import open_dataset
from pnp_ovss.evaluation.run import run
from pnp_ovss.evaluation.systems import Answer

class Bright:
    def settings(self):
        return {"model": "bright"}

    def answer(self, query):
        return {"": Answer((query.image[..., 0] > 200).astype(np.int32))}

run(open_dataset("folder", sys.argv[1]), Bright, Path(sys.argv[2]), progress=lambda *_: time.sleep(0.3))
"""


def test_a_killed_run_resumes_to_the_same_numbers(rectangles, records, tmp_path):
    whole = summarise(run(rectangles, Bright, tmp_path / "whole.jsonl"))
    root = rectangles[0].image.parents[1]
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(root), str(records)])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (records.exists() and records.read_bytes().count(b"\n") >= 4):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 3 <= len(read_records(records)[1]) < 12
    resumed = summarise(run(rectangles, Bright, records, RunOptions(resume=True)))
    assert (resumed.miou, resumed.interval, resumed.per_class) == (whole.miou, whole.interval, whole.per_class)


def refuse():
    raise ModelError("no weights here")


@pytest.fixture
def importable(monkeypatch):
    """Worker processes import this file by its module name, `tests.evaluation.test_workers`."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))


class Deadly(Bright):
    def answer(self, query):
        if query.id == "05":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().answer(query)


@pytest.mark.slow
def test_a_worker_that_dies_is_told_and_what_was_finished_is_kept(rectangles, records, importable):
    with pytest.raises(OutputError, match=r"a worker process died.*resume with fewer workers"):
        run(rectangles, Deadly, records, RunOptions(workers=2))
    assert len(read_records(records)[1]) < 12
    assert len(run(rectangles, Bright, records, RunOptions(resume=True)).finished) == 12


def test_what_is_started_uninterrupted_does_not_hear_the_keyboard():
    before = signal.getsignal(signal.SIGINT)
    with uninterrupted():
        asked = [sys.executable, "-c", "import signal; print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"]
        assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip() == "True"
    assert signal.getsignal(signal.SIGINT) is before
    with ThreadPoolExecutor(1) as other:  # a thread that may set no signals
        assert other.submit(lambda: uninterrupted().__enter__()).exception() is None


@pytest.mark.slow
def test_several_workers_give_the_same_records_in_order(rectangles, records, tmp_path, importable):
    alone = run(rectangles, Bright, tmp_path / "alone.jsonl")
    together = run(rectangles, Bright, records, RunOptions(workers=2))
    assert [record.id for record in together.records] == [sample.id for sample in rectangles]
    assert summarise(together).per_class == summarise(alone).per_class
    with pytest.raises(ModelError, match="no weights here"):
        run(rectangles, refuse, records, RunOptions(workers=2))
