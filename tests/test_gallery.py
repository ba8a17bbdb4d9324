"""The figure-1 grid: pictures, ground truth, page and errors."""

import re

import numpy as np
import pytest
from PIL import Image

from pnp_ovss import Segmenter, SegmenterConfig
from pnp_ovss.cli import options
from pnp_ovss.cli.gallery import gallery
from pnp_ovss.datasets.base import VOID
from pnp_ovss.errors import DatasetError
from pnp_ovss.gallery import TILE_PX, Row, draw_grid, read_truth, render_page, save_gallery
from pnp_ovss.palette import palette
from pnp_ovss.testing.fake_vlm import FakeVLM
from tests.scenes import two_squares

CONFIG = SegmenterConfig(layer=2, head=2, size_px=96, refine="none")


@pytest.fixture
def result():
    return Segmenter(FakeVLM(), CONFIG)(two_squares(), ["red", "green", "blue"], image_id="a & b.png")


def truth_labels():
    labels = np.zeros((96, 128), dtype=np.uint8)
    labels[16:48, 16:64] = 1
    labels[0] = 255
    return labels


def test_reads_the_truth_of_a_photo(result, tmp_path):
    Image.fromarray(truth_labels()).save(tmp_path / "a.png")
    truth = read_truth(tmp_path, tmp_path / "photos" / "a.jpg", result)
    assert (truth[0] == VOID).all()
    assert (truth[1:] == truth_labels()[1:]).all()
    assert read_truth(tmp_path, tmp_path / "b.jpg", result) is None


def test_truth_of_other_size_or_classes(result, tmp_path):
    Image.fromarray(np.zeros((5, 6), dtype=np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(DatasetError, match="is 6 x 5 px, its photo 128 x 96 px"):
        read_truth(tmp_path, tmp_path / "a.jpg", result)
    Image.fromarray(np.full((96, 128), 4, dtype=np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(DatasetError, match="values 4, which are no class"):
        read_truth(tmp_path, tmp_path / "a.jpg", result)


def test_grid_shows_photo_masks_and_truth(result):
    truth = truth_labels().astype(np.int32)
    truth[truth == 255] = VOID
    grid = np.asarray(draw_grid([Row("a", result), Row("b", result, truth)]))
    assert grid.shape[1] == 3 * (TILE_PX + 10) + 10
    orange = palette(3)[1]
    columns = np.flatnonzero((grid == orange).all(axis=2).any(axis=0)) // (TILE_PX + 10)
    assert set(columns) == {1, 2}  # outlines of class 1 in the masks and the truth, none in the photo
    assert np.asarray(draw_grid([Row("a", result)])).shape[1] == 2 * (TILE_PX + 10) + 10


def test_page_names_what_it_shows_and_loads_nothing_from_elsewhere(result, tmp_path):
    rows = [Row("a & b", result, truth_labels().astype(np.int32) % 255)]
    result.save(tmp_path, "a & b")
    save_gallery(rows, tmp_path)
    page = (tmp_path / "gallery.html").read_text("utf-8")
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(sources) == 6
    assert all((tmp_path / source.replace("%20", " ").replace("%26", "&")).is_file() for source in sources)
    assert "a &amp; b.png: red" in page
    assert "<script" not in page


def test_page_without_finds():
    nothing = Segmenter(FakeVLM(), CONFIG)(two_squares(), ["green"])
    assert "none of the classes" in render_page([Row("x", nothing)])


def test_command_leaves_out_what_fails(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(options, "make_segmenter", lambda *_, **__: Segmenter(FakeVLM(), CONFIG))
    Image.fromarray(two_squares()).save(tmp_path / "a.png")
    (tmp_path / "bad.png").write_text("no image")
    (tmp_path / "truth").mkdir()
    Image.fromarray(truth_labels()).save(tmp_path / "truth" / "a.tif")
    photos = [tmp_path / "a.png", tmp_path / "bad.png"]
    assert gallery(photos, "red, blue", ground_truth=tmp_path / "truth", out=tmp_path / "out") == 1
    assert "bad.png is not an image" in capsys.readouterr().err
    assert {"gallery.png", "gallery.html", "a.truth.png"} <= {p.name for p in (tmp_path / "out").iterdir()}
    assert gallery(photos[1:], "red", out=tmp_path / "out") == 2
    with pytest.raises(DatasetError, match="is not a folder"):
        gallery(photos, "red", ground_truth=tmp_path / "none")
