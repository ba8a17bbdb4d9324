"""What our writers write our readers read, whatever the photos are called."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pnp_ovss.datasets import open_dataset
from pnp_ovss.export import export_run, read_run
from tests.runs import write_run

LABELS = np.array([[0, 1, 2], [2, 2, 0]], dtype=np.uint16)
ODD = [
    "my cat",
    "0 ",
    " 0",
    "0 1",
    "my",
    "a, b",
    "it's",
    '"q"',
    "猫",
    "ไทย",
    ".hidden",
    "x.tar",
    "#1",
    "a;b",
    "a\u2028b",
    "a\x85b",
    "-1",
    "0",
]


def there_and_back(stems, tmp_path):
    results = {f"{stem}.png": (LABELS, ["cat", 'say "hi"']) for stem in stems}
    run = read_run(write_run(tmp_path / "run", results))
    export_run(run, "voc", tmp_path / "voc")
    for name in results:
        path = tmp_path / "voc" / "JPEGImages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", LABELS.shape[::-1]).save(path)
    return open_dataset("folder", tmp_path / "voc")


def test_a_voc_export_is_a_data_set_of_ours(tmp_path):
    data = there_and_back(ODD, tmp_path)
    assert data.names == ("cat", 'say "hi"')
    assert sorted(sample.id for sample in data) == sorted(ODD)
    assert all((sample.labels() == LABELS).all() for sample in data)


printable = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\\")
stems = st.text(printable, min_size=1, max_size=8).filter(lambda stem: stem.strip(" .") == stem.strip() != "")


@settings(max_examples=25, deadline=None)
@given(st.lists(stems, min_size=1, max_size=4, unique_by=lambda stem: stem.casefold().strip()))
def test_whatever_the_photos_are_called(names):
    with tempfile.TemporaryDirectory() as folder:
        data = there_and_back(names, Path(folder))
        assert sorted(sample.id for sample in data) == sorted(names)
        assert all((sample.labels() == LABELS).all() for sample in data)


@pytest.mark.parametrize("stem", ODD)
def test_one_at_a_time(stem, tmp_path):
    assert [sample.id for sample in there_and_back([stem], tmp_path)] == [stem]
