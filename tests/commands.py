"""`pnp-ovss` called in this process, with the model of the tests unless another is named."""

import sys

import pytest

from pnp_ovss.cli import main as cli
from pnp_ovss.testing.fake_vlm import FAKE_PRESET

MODEL_COMMANDS = (
    "segment",
    "demo",
    "explain",
    "gallery",
    "evaluate",
    "ablate",
    "sensitivity",
    "tune",
    "calibrate",
    "serve",
)


def caller(monkeypatch, capsys):
    """call(*arguments) -> (exit code, standard output, standard error)."""

    def call(*arguments):
        command = [str(argument) for argument in arguments]
        if {*MODEL_COMMANDS} & {*command[:2]} and "--model" not in command:
            command += ["--model", str(FAKE_PRESET)]
        monkeypatch.setattr(sys, "argv", ["pnp-ovss", *command])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output = capsys.readouterr()
        return ended.value.code, output.out, output.err

    return call
