"""The public names are those that were agreed on, documented, and all that the pages import."""

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

from tests import api_surface

ROOT = Path(__file__).parents[1]
KEPT = api_surface.read()
NAMES = [(module, name) for module, names in KEPT["modules"].items() for name in names]


def test_a_change_of_the_public_names_has_a_reason():
    advice = 'python tests/api_surface.py "REASON", and a line in UPGRADING.md if somebody has to change code'
    now = api_surface.today(KEPT["modules"])
    gone = {f"{m}.{n}" for m, n in NAMES if n not in now[m]}
    gone |= {f"{m}.{n}.{k}" for m, n in NAMES if n in now[m] for k in KEPT["modules"][m][n] if k not in now[m][n]}
    assert not gone, f"{sorted(gone)}: {advice}"  # what is new breaks nobody's code
    last = KEPT["changes"][-1]
    assert last["names"] == api_surface.digest_of(KEPT["modules"]), advice
    assert len(last["reason"].split()) >= 3


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_public_names_say_what_they_are(module, name):
    value = getattr(import_module(module), name)
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return
    methods = {k: v for k, v in vars(value).items() if inspect.isfunction(v) and not k.startswith(("_", "test_"))}
    for title, one in {name: value, **(methods if inspect.isclass(value) else {})}.items():
        assert len((inspect.getdoc(one) or "").split()) >= 3, f"{module}.{name}: the docstring of {title} says nothing"


def test_everything_that_the_pages_import_is_public():
    text = "\n".join(page.read_text("utf-8") for page in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])
    found = re.findall(r"^from (pnp_ovss[\w.]*) import ([\w, ]+)", text, re.MULTILINE)
    assert {(module, name.strip()) for module, names in found for name in names.split(",")} <= set(NAMES)
