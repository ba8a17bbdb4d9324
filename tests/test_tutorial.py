"""The commands and the Python of the pages for users, run as printed.

Blocks that are marked (`setup`, `slow`, `gpu`, `weights`) are left out.
"""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from pnp_ovss import Segmenter
from pnp_ovss.cli import main as cli
from pnp_ovss.cli import options

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WEIGHTS = Path(cli.__file__).parents[1] / "weights" / "pocket.safetensors"


@pytest.fixture(scope="module")
def pocket():
    """The pocket model, loaded once for all commands."""
    if not WEIGHTS.exists():
        pytest.skip("needs the built-in weights")
    return Segmenter.from_pretrained("pocket")


@pytest.fixture
def pipe(monkeypatch, tmp_path, pocket):
    """run(command): the command line with the loaded model, in an empty folder with the pages' photos."""
    from skimage import data

    def prepared(model, *, method=None, device="auto", seed=0, settings=None, **explicit):
        given = {k: v for k, v in explicit.items() if v is not None} | options.parse_settings(settings)
        return Segmenter(pocket.vlm, pocket.config.replace(**given), method=method or "preset")

    def run(command):
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0, command

    monkeypatch.setattr(options, "make_segmenter", prepared)
    monkeypatch.chdir(tmp_path)
    for name in ("chelsea.png", "coffee.png", "astronaut.png"):
        shutil.copy(Path(data.__file__).parent / name, name)
    return run


@pytest.mark.parametrize("page", ["tutorial.md", "exports.md", "faq.md", "wild.md"])
def test_page_runs_as_printed(page, pipe):
    names = {}
    blocks = BLOCK.findall((DOCS / page).read_text("utf-8"))
    assert len(blocks) >= 1
    for kind, text in blocks:
        if kind == "python":
            exec(compile(text, page, "exec"), names)
            continue
        for line in text.splitlines():
            assert line.startswith("$ pnp-ovss "), line
            pipe(line[2:])
