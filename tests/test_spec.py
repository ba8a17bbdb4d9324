"""What a segmenter given as plain values does to the process that makes it."""

import gc
import subprocess
import sys
from pathlib import Path

import pnp_ovss
from pnp_ovss.spec import importing_torch

FIRST = """
import gc, sys
from pnp_ovss.spec import importing_torch
assert "torch" not in sys.modules
with importing_torch():
    assert not gc.isenabled()
    import torch
print(gc.isenabled(), gc.get_freeze_count() > 10_000)
"""


def test_what_importing_torch_made_is_searched_for_garbage_neither_then_nor_later():
    found = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=True).stdout

    assert found.split() == ["True", "True"]


def test_a_process_that_has_torch_keeps_its_garbage_collection_as_it_is():
    frozen = gc.get_freeze_count()

    with importing_torch():
        assert gc.isenabled()

    assert gc.get_freeze_count() == frozen
    gc.disable()
    try:
        with importing_torch():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_failed_import_leaves_garbage_collection_on():
    code = (
        "import gc\nfrom pnp_ovss.spec import importing_torch\n"
        "try:\n    with importing_torch(): raise ImportError\nexcept ImportError: print(gc.isenabled())"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"


def test_segment_imports_torch_so(tmp_path):
    """The command that people wait for: nothing imports torch before its segmenter is made."""
    photo = Path(pnp_ovss.__file__).parent / "testing" / "photos" / "astronaut.jpg"
    code = (
        "import atexit, gc, sys\nfrom pnp_ovss.cli.main import main\natexit.register(lambda: print(gc.get_freeze_count()))\n"
        f"sys.argv = ['pnp-ovss', 'segment', {str(photo)!r}, '--classes', 'person', '--json', '--out', {str(tmp_path)!r}]\nmain()"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert int(out.splitlines()[-1]) > 10_000
