"""The grid of figures 1 and 5: pictures, ground truth, lists of photos, page and errors."""

import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image

from pnp_ovss import Segmenter, SegmenterConfig
from pnp_ovss.cli.gallery import gallery as gallery_command
from pnp_ovss.datasets.base import VOID
from pnp_ovss.errors import ClassNameError, DatasetError, ImageError, PnPError
from pnp_ovss.gallery import TILE_PX, Entry, Row, draw_grid, read_list, read_truth, render_page, save_gallery, with_grey
from pnp_ovss.pictures.palette import palette
from pnp_ovss.testing.fake_vlm import FAKE_PRESET, FakeVLM
from tests.scenes import two_squares

gallery = partial(gallery_command, model=str(FAKE_PRESET))
CONFIG = SegmenterConfig(layer=2, head=2, size_px=96, refine="none")


@pytest.fixture
def result():
    return Segmenter(FakeVLM(), CONFIG)(two_squares(), ["red", "green", "blue"], image_name="a & b.png")


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


def test_truth_is_turned_with_a_photo_that_exif_turns(tmp_path):
    segmenter, stored = Segmenter(FakeVLM(), CONFIG), two_squares()
    for orientation in (3, 6):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(stored).save(tmp_path / f"{orientation}.png", exif=exif)
        (tmp_path / "truth").mkdir(exist_ok=True)
        Image.fromarray(truth_labels()).save(tmp_path / "truth" / f"{orientation}.png")
    result = segmenter(tmp_path / "6.png", ["red", "green", "blue"])
    truth = read_truth(tmp_path / "truth", tmp_path / "6.png", result)
    assert (truth[:, :-1] == np.rot90(truth_labels(), -1)[:, :-1]).all()  # the last column is void
    assert (truth[:, -1] == VOID).all()
    with pytest.raises(DatasetError, match=r"EXIF \(orientation 3\)"):
        read_truth(tmp_path / "truth", tmp_path / "3.png", segmenter(tmp_path / "3.png", ["red", "green", "blue"]))


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


def test_command_leaves_out_what_fails(tmp_path, capsys):
    Image.fromarray(two_squares()).save(tmp_path / "a.png")
    (tmp_path / "bad.png").write_text("no image")
    (tmp_path / "truth").mkdir()
    Image.fromarray(truth_labels()).save(tmp_path / "truth" / "a.tif")
    photos = [tmp_path / "a.png", tmp_path / "bad.png"]
    assert gallery(photos, "red, blue", ground_truth=tmp_path / "truth", out=tmp_path / "out") == 1
    assert "bad.png is not an image" in capsys.readouterr().err
    assert {"gallery.png", "gallery.html", "a.truth.png"} <= {p.name for p in (tmp_path / "out").iterdir()}
    assert gallery(photos[1:], "red", out=tmp_path / "out") == 2
    capsys.readouterr()
    (tmp_path / "empty").mkdir()
    assert gallery(photos[:1], "red", ground_truth=tmp_path / "empty", out=tmp_path / "bare") == 0
    assert "empty holds no ground truth of these photos: it would be called like a photo" in capsys.readouterr().err
    with pytest.raises(DatasetError, match="is not a folder"):
        gallery(photos, "red", ground_truth=tmp_path / "none")


def photo_list(folder, text):
    (folder / "list.toml").write_text(text, "utf-8")
    return folder / "list.toml"


def test_list_gives_each_photo_its_own_words(tmp_path):
    listed = photo_list(
        tmp_path,
        '[[photo]]\nfile = "a.png"\nclasses = "red, blue"\n'
        '[[photo]]\nfile = "b.png"\ncaption = "Grey."\ngrey = true\n'
        '[[photo]]\nfile = "c.png"\nclasses = [["red", "scarlet"], "hot dog"]\n',
    )
    first, second, third = read_list(listed, (("green",),))
    assert first == Entry(tmp_path / "a.png", (("red",), ("blue",)), "Asked: red, blue.")
    assert second == Entry(tmp_path / "b.png", (("green",),), "Asked: green. Grey.", grey=True)
    assert third.classes == (("red", "scarlet"), ("hot dog",))
    assert third.caption == "Asked: red, hot dog."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("photo = 3", r"tables \[\[photo\]\]"),
        ("", r"tables \[\[photo\]\]"),
        ("photo = []", r"tables \[\[photo\]\]"),
        ('[[photos]]\nfile = "a"', r"tables \[\[photo\]\]"),
        ('[[photo]]\nfile = "a', "not valid TOML"),
        ('[[photo]]\nclasses = "a"', "photo 1 has no file"),
        ('[[photo]]\nfile = "a"', "photo 1 has no classes"),
        ('[[photo]]\nfile = "a"\nclass = "b"', "unknown key 'class'; the keys are file, classes, caption, grey"),
        ('[[photo]]\nfile = "a"\nclasses = "b"\ngrey = 1', "grey = 1 is not possible"),
        ('[[photo]]\nfile = "a"\nclasses = "b, b"', "given twice"),
    ],
)
def test_impossible_lists_say_what_is_wrong(text, message, tmp_path):
    with pytest.raises(PnPError, match=message):
        read_list(photo_list(tmp_path, text))
    with pytest.raises(PnPError, match="cannot read the list"):
        read_list(tmp_path / "none.toml")


def test_grey_takes_the_colours_away(tmp_path):
    Image.fromarray(two_squares()).save(tmp_path / "a.png")
    entry = Entry(tmp_path / "a.png", (("red",),))
    colour, grey = (e.load() for e in with_grey([entry]))
    assert (colour == two_squares()).all()
    assert (grey == grey[..., :1]).all()
    assert grey.shape == colour.shape
    assert np.unique(grey).size > 1
    assert with_grey([replace(entry, grey=True)]) == [replace(entry, grey=True)]


def test_captions_stand_below_and_are_wrapped(result):
    bare, captioned = (draw_grid([Row("a", result, caption=text)]) for text in ("", "word " * 60))
    lines = (captioned.height - bare.height) / 24
    assert lines == int(lines) >= 3
    assert np.asarray(captioned)[bare.height - 10 :].min() < 128
    assert "<p>a &lt; b</p>" in render_page([Row("a", result, caption="a < b")])


def test_tiles_have_the_asked_size(result):
    assert draw_grid([Row("a", result)], 320).width == 2 * 330 + 10


def test_command_takes_a_list_and_grey(tmp_path, capsys):
    Image.fromarray(two_squares()).save(tmp_path / "a.png")
    listed = photo_list(
        tmp_path,
        '[[photo]]\nfile = "a.png"\nclasses = "red, green"\n'
        '[[photo]]\nfile = "gone.png"\nclasses = "red"\n'
        '[[photo]]\nfile = "a.png"\nclasses = "blue"\ngrey = true\n',
    )
    assert gallery([tmp_path / "a.png"], "blue", listed=listed, out=tmp_path / "out") == 1
    assert "gone.png does not exist" in capsys.readouterr().err
    assert {p.stem for p in (tmp_path / "out").glob("*.json")} == {"a", "a-2", "a-grey"}
    page = (tmp_path / "out" / "gallery.html").read_text("utf-8")
    assert [line for line in page.splitlines() if line.startswith("<p>Asked")] == [
        "<p>Asked: red, green.</p>",
        "<p>Asked: blue.</p>",
    ]
    assert gallery([tmp_path / "a.png"], "red", grey=True, out=tmp_path / "both") == 0
    assert {p.stem for p in (tmp_path / "both").glob("*.json")} == {"a", "a-grey"}


def test_command_without_photos_or_words(tmp_path):
    with pytest.raises(ImageError, match="no photos were given; name some, or give --list"):
        gallery(None, "red", out=tmp_path)
    with pytest.raises(ClassNameError, match="no classes were given"):
        gallery([tmp_path / "a.png"], listed=photo_list(tmp_path, ""), out=tmp_path)
