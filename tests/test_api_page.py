"""The library's reference is made from today's docstrings, and they say something."""

import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def load_script(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_api = load_script("make_api")
NAMES = [(module, name) for module, names in make_api.public_names().items() for name in names]


def test_the_page_has_every_module_and_name():
    page = make_api.render()
    for module, names in make_api.public_names().items():
        assert all(re.search(rf"^#+ .*\b{name}\b", page, re.MULTILINE) for name in names), module


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_public_names_say_what_they_are(module, name):
    entry = "\n".join(make_api.entry(module, name))
    for text in re.split(r"^#+ ", entry, flags=re.MULTILINE)[1:]:
        title, _, rest = text.partition("\n")
        prose = re.sub(r"```.*?```|^\*.*$", "", rest, flags=re.DOTALL | re.MULTILINE)
        assert len(prose.split()) >= 3, f"{module}.{name}: the docstring of {title} says nothing"


def test_everything_that_the_pages_import_is_on_the_page():
    pages = [*DOCS.glob("*.md"), DOCS.parent / "README.md"]
    text = "\n".join(page.read_text("utf-8") for page in pages)
    found = re.findall(r"^from (pnp_ovss[\w.]*) import ([\w, ]+)", text, re.MULTILINE)
    assert {(module, name.strip()) for module, names in found for name in names.split(",")} <= set(NAMES)
