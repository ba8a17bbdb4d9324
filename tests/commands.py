"""`pnp-ovss` called in this process, another maker of segmenters behind it."""

import sys

import pytest

from pnp_ovss.cli import main as cli
from pnp_ovss.cli import options


def caller(monkeypatch, capsys, fake):
    """call(*arguments) -> (exit code, standard output, standard error); fake: stands for `options.make_segmenter`."""

    def call(*arguments):
        monkeypatch.setattr(options, "make_segmenter", fake)
        monkeypatch.setattr(sys, "argv", ["pnp-ovss", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output = capsys.readouterr()
        return ended.value.code, output.out, output.err

    return call
