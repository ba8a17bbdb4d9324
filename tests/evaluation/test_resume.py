"""Interrupted, killed and divided runs give the numbers of a whole one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pnp_ovss.errors import ConfigError, ModelError, OutputError
from pnp_ovss.evaluation.records import read_records
from pnp_ovss.evaluation.report import summarise
from pnp_ovss.evaluation.run import RunOptions, run
from pnp_ovss.evaluation.systems import Answer

# Resuming


class InterruptError(Exception):
    """Stands for whatever ends a run."""


def test_an_interrupted_run_gives_the_numbers_of_a_whole_one(rectangles, fake_system, records, tmp_path):
    whole = summarise(run(rectangles, fake_system, tmp_path / "whole.jsonl"))

    def stop(done, total, confusion):
        if done == 5:
            raise InterruptError

    with pytest.raises(InterruptError):
        run(rectangles, fake_system, records, progress=stop)
    assert len(read_records(records)[1]) == 5
    seen = []
    resumed = run(
        rectangles, fake_system, records, RunOptions(resume=True), progress=lambda done, *_: seen.append(done)
    )
    assert seen == [5, 6, 7, 8, 9, 10, 11, 12]
    ours, theirs = summarise(resumed).to_dict(), whole.to_dict()
    for timing in ("seconds_per_image", "records"):
        del ours[timing], theirs[timing]
    assert ours == theirs


def test_a_torn_last_line_is_made_again(rectangles, painter, records):
    whole = summarise(run(rectangles, lambda: painter(rectangles, ("02",)), records))
    records.write_bytes(records.read_bytes()[:-20])
    system = painter(rectangles, ("02",))
    again = summarise(run(rectangles, lambda: system, records, RunOptions(resume=True)))
    assert system.asked == ["11"]
    assert again.miou == whole.miou


def test_other_settings_do_not_resume(rectangles, painter, records):
    run(rectangles, lambda: painter(rectangles), records)
    with pytest.raises(ConfigError, match=r"begun with other settings \(settings differ\)"):
        run(rectangles, lambda: painter(rectangles, ("01",)), records, RunOptions(resume=True))
    with pytest.raises(ConfigError, match=r"\(void differ\)"):
        run(rectangles, lambda: painter(rectangles), records, RunOptions(resume=True, void="background"))
    with pytest.raises(ConfigError, match=r"\(notes differ\)"):
        run(rectangles.subset(4), lambda: painter(rectangles), records, RunOptions(resume=True))


def test_other_weights_do_not_resume(rectangles, fake_system, records):
    import torch

    run(rectangles.subset(2), fake_system, records)

    def changed():
        system = fake_system()
        with torch.no_grad():
            system.segmenter.vlm.model.weight += 1
        return system

    with pytest.raises(ConfigError, match=r"\(settings differ\)"):
        run(rectangles.subset(2), changed, records, RunOptions(resume=True))


def test_without_resume_a_run_starts_again(rectangles, painter, records):
    system = painter(rectangles)
    run(rectangles, lambda: system, records)
    run(rectangles, lambda: system, records)
    assert len(system.asked) == 24


def test_records_that_are_none_are_refused(rectangles, painter, records):
    records.parent.mkdir(parents=True)
    records.write_text("hello\n")
    with pytest.raises(OutputError, match="holds no records of an evaluation"):
        run(rectangles, lambda: painter(rectangles), records, RunOptions(resume=True))
    with pytest.raises(OutputError, match="cannot read the records"):
        read_records(records.parent / "nothing.jsonl")


class Bright:
    """Everything bright in the red channel is class 1; picklable, and needs no torch."""

    def settings(self):
        return {"model": "bright"}

    def answer(self, query):
        return {"": Answer((query.image[..., 0] > 200).astype(np.int32))}


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


# Several processes


def refuse():
    raise ModelError("no weights here")


@pytest.fixture
def importable(monkeypatch):
    """Worker processes import this file by its module name, `tests.evaluation.test_run`."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))


@pytest.mark.slow
def test_several_workers_give_the_same_records_in_order(rectangles, records, tmp_path, importable):
    alone = run(rectangles, Bright, tmp_path / "alone.jsonl")
    together = run(rectangles, Bright, records, RunOptions(workers=2))
    assert [record.id for record in together.records] == [sample.id for sample in rectangles]
    assert summarise(together).per_class == summarise(alone).per_class
    with pytest.raises(ModelError, match="no weights here"):
        run(rectangles, refuse, records, RunOptions(workers=2))
