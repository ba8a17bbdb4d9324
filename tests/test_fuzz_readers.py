"""Whatever stands in a user's file: it is read, or one PnPError of one line; nothing hangs and nothing is written."""

import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pnp_ovss.candidates import Candidates
from pnp_ovss.classes import read_class_file
from pnp_ovss.datasets import check_dataset, open_dataset, read_vocabulary
from pnp_ovss.errors import PnPError
from pnp_ovss.gallery import read_list
from pnp_ovss.masks.rle import decode_mask
from pnp_ovss.presets import get_method, get_preset
from pnp_ovss.tuning.tags import tagged_files

pytestmark = pytest.mark.slow
hard = settings(max_examples=400, deadline=20_000, suppress_health_check=list(HealthCheck))

SIGNS = ["\ufeff", "\r\n", "\r", "\n", "\u2028", "\x85", "\x00", "\x1b[0m", "\ud800", "é", "🐱", "\\"]
SIGNS += [",", ";", "、", " . ", "#", "'", '"', "[", "]", "{", "}", "="]
WORDS = [
    "[[photo]]",
    "[model]",
    "[settings]",
    "file",
    "classes",
    "true",
    "-1",
    "1e999",
    "nan",
    "a.jpg",
    "cat",
    "../x",
    "/x",
]
PIECES = st.sampled_from([*SIGNS, *WORDS])
TEXTS = st.lists(PIECES | st.text(max_size=3), max_size=30).map(" ".join)
FILES = TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@contextmanager
def one_line_at_most():
    """PnPError is an answer; it has one line."""
    try:
        yield
    except PnPError as error:
        if "\n" in str(error):
            raise AssertionError(f"several lines: {error!r}") from error


def listing(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.parent.rglob("*"))


@hard
@given(FILES)
def test_class_files_lists_presets_and_descriptions(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzz") / "in"
    folder.mkdir()
    path = folder / "a.toml"
    path.write_bytes(data)
    before = listing(folder)
    for read in (read_class_file, read_vocabulary, read_list, Candidates.read, get_method, get_preset):
        with one_line_at_most():
            read(path)
    with one_line_at_most():
        open_dataset("folder", folder, config=path)
    assert listing(folder) == before


VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("abc./", max_size=4),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
FIELDS = "name images masks mask_suffix classes background values void list photo file caption grey"
KEYS = st.sampled_from(FIELDS.split())
TABLES = st.sampled_from(["", "[[photo]]\n", "[photo]\n"])


@hard
@given(TABLES, st.dictionaries(KEYS, VALUES, max_size=7))
def test_descriptions_and_lists_of_other_types(listed_set, table, values):
    required = {} if table else {"images": "images", "masks": "masks", "classes": ["cat"], "background": 0}
    lines = [f"{key} = {json.dumps(value)}" for key, value in {**required, **values}.items()]
    (listed_set / "fuzz.toml").write_text(table + "\n".join(lines), "utf-8")
    before = listing(listed_set)
    with one_line_at_most():
        for entry in read_list(listed_set / "fuzz.toml", None):
            entry.load()
    with one_line_at_most():
        check_dataset(open_dataset("folder", listed_set, config=listed_set / "fuzz.toml"))
    assert listing(listed_set) == before


@hard
@given(JSON)
def test_candidates_and_tags(tmp_path_factory, value):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "a.json").write_text(json.dumps(value), "utf-8")
    (folder / "a.jpg").write_bytes(b"x")
    with one_line_at_most():
        tagged_files([folder], Candidates.read(folder / "a.json").names)


@pytest.fixture(scope="module")
def listed_set(tmp_path_factory):
    root = tmp_path_factory.mktemp("set")
    for name in ("images/a.jpg", "images/my cat.png", "masks/a.png", "masks/my cat.png", "x.jpg"):
        (root / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(root / name)
    toml = 'images = "images"\nmasks = "masks"\nclasses = ["cat"]\nbackground = 0\nlist = "val.txt"\n'
    (root / "dataset.toml").write_text(toml)
    return root


LINES = [
    "a",
    "my cat",
    "a.jpg",
    "../x",
    "..\\x",
    "/etc/passwd",
    "",
    " ",
    "a 1",
    ".",
    "a/..",
    "C:\\a",
    "\x00",
    "a\ud800",
]


@hard
@given(st.lists(st.sampled_from(LINES) | st.text(max_size=8), max_size=6))
def test_image_lists_never_lead_out(listed_set, lines):
    (listed_set / "val.txt").write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    before = listing(listed_set)
    with one_line_at_most():
        data = open_dataset("folder", listed_set)
        check_dataset(data)
        assert all(sample.image.resolve().is_relative_to(listed_set / "images") for sample in data)
    assert listing(listed_set) == before


@hard
@given(JSON | st.fixed_dictionaries({"size": JSON | st.just([3, 4]), "counts": JSON | st.text(max_size=20)}))
def test_run_lengths(runs):
    if isinstance(runs, dict):
        with one_line_at_most():
            assert decode_mask(runs, 3, 4).shape == (3, 4)
