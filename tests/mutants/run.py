"""`make mutants`: does a test turn red when one line of the source is wrong?

Each mutant of `faults.toml` is a file of the package, a text that stands in it once, and what it becomes. The tests named
beside it run in a copy of the project. Prints the share killed and every survivor; exit code 1 below 95 %, for a
survivor without a reason, or for a text that is not found.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).parents[2]
FAULTS = Path(__file__).with_name("faults.toml")
LEAST_KILLED = 0.95
LIMIT_S = 600
RED = 1
"""pytest's exit code for failed tests; others say that they could not be run."""


@dataclass(frozen=True)
class Fault:
    """file: below src/pnp_ovss. old: a text that stands in it once. new: what it becomes. tests: what must notice.

    reason: why it may survive; empty for one that may not.
    """

    file: str
    old: str
    new: str
    tests: str
    reason: str = ""


@dataclass(frozen=True)
class Outcome:
    """verdict: killed, survived, or what was wrong with the mutant itself."""

    fault: Fault
    verdict: str


def main() -> int:
    """Run the mutants and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="part of a mutant's file, old or new text")
    asked = parser.parse_args()
    faults = [Fault(**entry) for entry in tomllib.loads(FAULTS.read_text("utf-8"))["fault"]]
    chosen = [fault for fault in faults if asked.only in f"{fault.file} {fault.old} {fault.new}"]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(asked.workers) as pool:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(asked.workers):
            copies.put(_copy(Path(folder) / str(number)))
        outcomes = list(pool.map(lambda fault: _try(fault, copies), chosen))
    return _report(outcomes)


def _copy(place: Path) -> Path:
    skip = shutil.ignore_patterns("__pycache__")
    for name in ("src", "tests", "docs"):
        shutil.copytree(ROOT / name, place / name, ignore=skip)
    shutil.copy(ROOT / "pyproject.toml", place)
    return place


def _try(fault: Fault, copies: SimpleQueue[Path]) -> Outcome:
    copy = copies.get()
    path = copy / "src/pnp_ovss" / fault.file
    whole = path.read_text("utf-8") if path.is_file() else ""
    try:
        if whole.count(fault.old) != 1:
            return _said(fault, f"its text stands {whole.count(fault.old)} times in the file")
        path.write_text(whole.replace(fault.old, fault.new), "utf-8")
        return _said(fault, _verdict(copy, fault))
    finally:
        if whole:
            path.write_text(whole, "utf-8")
        copies.put(copy)


def _verdict(copy: Path, fault: Fault) -> str:
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not slow and not gpu"]
    environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [*command, *fault.tests.split()], cwd=copy, env=environment, capture_output=True, text=True, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return "killed"  # it hangs
    if done.returncode not in (0, RED):
        return f"its tests cannot be run: {done.stdout[-300:]}{done.stderr[-300:]}"
    return "killed" if done.returncode == RED else "survived"


def _said(fault: Fault, verdict: str) -> Outcome:
    print(f"{verdict:9} {fault.file}: {fault.new or '(nothing)'}", flush=True)
    return Outcome(fault, verdict)


def _report(outcomes: list[Outcome]) -> int:
    killed = sum(outcome.verdict == "killed" for outcome in outcomes)
    others = [outcome for outcome in outcomes if outcome.verdict != "killed"]
    print(f"{killed} of {len(outcomes)} killed ({killed / max(len(outcomes), 1):.1%})")
    for outcome in others:
        print(f"  {outcome.fault.file}: {outcome.fault.old!r} -> {outcome.fault.new!r}: {outcome.verdict}; "
              f"{outcome.fault.reason or 'no reason known'}")  # fmt: skip
    unexplained = [outcome for outcome in others if outcome.verdict != "survived" or not outcome.fault.reason]
    return 1 if unexplained or killed < LEAST_KILLED * len(outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
