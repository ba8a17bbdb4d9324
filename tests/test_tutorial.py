"""The commands and the Python of the pages for users, run as printed.

Blocks that are marked (`setup`, `slow`, `gpu`, `weights`) are left out.
"""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from pnp_ovss.cli import main as cli
from pnp_ovss.vlms.checkpoints import loading
from pnp_ovss.vlms.checkpoints.loading import load_vlm

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WEIGHTS = Path(cli.__file__).parents[1] / "weights" / "pocket.safetensors"


@pytest.fixture(scope="module")
def load_once():
    """`load_vlm` that keeps what it has loaded."""
    if not WEIGHTS.exists():
        pytest.skip("needs the built-in weights")
    kept = {}

    def load(preset, **options):
        key = (preset.name, *options.items())
        if key not in kept:
            kept[key] = load_vlm(preset, **options)
        return kept[key]

    return load


@pytest.fixture
def pipe(monkeypatch, tmp_path, load_once):
    """run(command): the command line, in an empty folder with the pages' photos."""
    from skimage import data

    def run(command):
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0, command

    monkeypatch.setattr(loading, "load_vlm", load_once)
    monkeypatch.chdir(tmp_path)
    for name in ("chelsea.png", "coffee.png", "astronaut.png"):
        shutil.copy(Path(data.__file__).parent / name, name)
    return run


@pytest.mark.parametrize("page", ["tutorial.md", "exports.md", "faq.md", "wild.md", "../SKILL.md", "big-photos.md"])
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
