"""What a cold command costs beside a bare `import torch`, CPU seconds of whole processes, the least of some runs in turn.

python benchmarks/start.py [--repeats 5]

Bytecode is kept, as it is by any installation: where PYTHONDONTWRITEBYTECODE is set, most of a start would be compiling Python.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import measured

import pnp_ovss

PHOTO = Path(pnp_ovss.__file__).parent / "testing" / "photos" / "astronaut.jpg"


def cpu_s(command: list[str], environment: dict[str, str]) -> float:
    """CPU seconds of a command with its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], capture_output=True, check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the costs and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    print(measured())
    with tempfile.TemporaryDirectory() as out:
        segment = ["-m", "pnp_ovss", "segment", str(PHOTO), "--classes", "person", "--out", out]
        code = "from pnp_ovss import Segmenter; Segmenter.from_pretrained('pocket')"
        commands = {
            "import torch": ["-c", "import torch"],
            "the model loaded": ["-c", code],
            "segment": segment,
            "segment --refine none": [*segment, "--refine", "none"],
            "--help": ["-m", "pnp_ovss", "--help"],
        }
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": f"{out}/bytecode"}
        runs = [{name: cpu_s(command, environment) for name, command in commands.items()} for _ in range(repeats + 1)]
    costs = {name: min(run[name] for run in runs[1:]) for name in runs[0]}  # the first run writes the bytecode
    for name, cost in costs.items():
        print(f"{name}: {cost:.2f} s, {cost / costs['import torch']:.2f} x")


if __name__ == "__main__":
    main()
