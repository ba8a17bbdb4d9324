"""Which pictures a data set has: ids, endings, lists, files that do not count."""

import pytest

from pnp_ovss.datasets import check_dataset, open_dataset
from pnp_ovss.datasets.pictures import PictureFolder
from pnp_ovss.errors import DatasetError
from pnp_ovss.photo_files import without_ending
from tests.datasets.test_folder_reader import OBJECTS, STUFF, columns

LISTED = STUFF + 'list = "val.txt"\n'


@pytest.mark.parametrize("ending", ["JPG", "jpeg", "JPEG", "Jpg", "png", "PNG", "Tif", "webp"])
def test_a_picture_is_found_whatever_its_ending(trees, ending):
    root = trees.voc()
    (root / "JPEGImages/2007_000001.jpg").rename(root / f"JPEGImages/2007_000001.{ending}")
    (root / "SegmentationClass/2007_000001.png").rename(root / "SegmentationClass/2007_000001.PNG")
    data = open_dataset("voc", root)
    assert data[1].image.name == f"2007_000001.{ending}"
    assert check_dataset(data).ok
    assert len(open_dataset("voc", root, split="all")) == 2


def test_the_masks_of_a_folder_may_have_any_case_too(trees):
    root = trees.folder(STUFF)
    (root / "masks/a.png").rename(root / "masks/a.PNG")
    assert check_dataset(open_dataset("folder", root)).ok


@pytest.mark.parametrize(
    ("lines", "ids"),
    [
        ("my cat\n", ["my cat"]),
        ("my\nmy cat\n", ["my", "my cat"]),
        ("my cat.jpg\r\n", ["my cat"]),
        ("\ufeffmy cat\n", ["my cat"]),
        ("sub/0001\n", ["sub/0001"]),
        ("./sub/0001.jpg\n", ["sub/0001"]),
        ("sub\\0001.jpg\n", ["sub/0001"]),
        ("my  1\nmy cat -1\n", ["my", "my cat"]),
        ("x 1\nmy 0\n", ["x 1", "my"]),
        ("v1.5\n", ["v1.5"]),
        ("a\u2028b\n", ["a\u2028b"]),
    ],
)
def test_a_line_of_a_list_is_one_name(trees, lines, ids):
    for name in ("my", "my cat", "sub/0001", "x 1", "v1.5", "a\u2028b"):
        trees.image(f"images/{name}.jpg")
        trees.mask(f"masks/{name}.png", 0, 1)
    root = trees.folder(LISTED)
    trees.text("val.txt", lines)
    data = open_dataset("folder", root)
    assert [sample.id for sample in data] == ids
    assert [sample.image.relative_to(root / "images").with_suffix("").as_posix() for sample in data] == ids
    assert check_dataset(data).ok


@pytest.mark.parametrize("line", ["../outside", "/etc/passwd", "a/../../x", "..", "..\\x"])
def test_a_line_that_leads_out_is_refused_or_missing(trees, line):
    root = trees.folder(LISTED)
    trees.image("outside.jpg")
    trees.text("val.txt", f"a\n{line}\n")
    with pytest.raises(DatasetError, match="names no picture below"):
        open_dataset("folder", root)


def test_a_missing_name_is_said_as_it_stands(trees):
    root = trees.folder(LISTED)
    trees.text("val.txt", "a\nno cat\n")
    with pytest.raises(DatasetError, match=r"1 of 2 images missing, first .*no cat\.jpg; expected ROOT"):
        open_dataset("folder", root)
    trees.text("val.txt", "a\na.jpg\n")
    with pytest.raises(DatasetError, match=r"val\.txt names a twice"):
        open_dataset("folder", root)


def test_folders_below_are_part_of_the_id(trees):
    trees.image("images/day 1/a.jpg")
    trees.mask("masks/day 1/a.png", 1)
    data = open_dataset("folder", trees.folder(STUFF))
    assert [sample.id for sample in data] == ["a", "b", "day 1/a"]
    assert columns(data[2])[0] == 2


def test_hidden_and_foreign_files_are_left_out_and_counted(trees):
    for name in ("._a.jpg", "__MACOSX/a.jpg", ".trash/a.jpg", "notes.txt"):
        trees.text(f"images/{name}", "x")
    trees.text("masks/._a.png", "x")
    data = open_dataset("folder", trees.folder(STUFF))
    assert [sample.id for sample in data] == ["a", "b"]
    assert data.left_out == {"hidden": 1, "hidden folder": 2, ".txt": 1}
    assert check_dataset(data).ok


def test_two_files_of_one_id_are_refused_only_where_the_id_is_used(trees):
    root = trees.folder(LISTED)
    trees.image("images/a.png")
    trees.text("val.txt", "b\n")
    assert len(open_dataset("folder", root)) == 1
    (root / "images/b.png").rename(root / "images/b.JPG")
    trees.image("images/b.PNG")
    with pytest.raises(DatasetError, match=r"holds both b\.\w+ and b\.\w+; keep one"):
        open_dataset("folder", root)


def test_a_suffix_belongs_to_the_mask_and_not_to_the_id(trees):
    trees.mask("x_gt.PNG", 1)
    trees.mask("sub/y_gt.png", 1)
    trees.mask("z.png", 1)
    folder = PictureFolder(trees.root, suffix="_gt", usual=".png")
    assert list(folder.all()) == ["x", "sub/y"]
    assert folder.find("z") is None


def test_dots_are_part_of_a_name():
    assert [without_ending(name) for name in ("a/b.c.JPG", "v1.5", ".jpg")] == ["a/b.c", "v1.5", ".jpg"]


def test_a_class_file_with_a_mark_is_the_same(trees):
    root = trees.folder(OBJECTS)
    (root / "pets.txt").write_bytes("\ufeffcat\r\nC# cup\r\n".encode())
    assert open_dataset("folder", root).names == ("cat", "C# cup")
