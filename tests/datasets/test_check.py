import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from pnp_ovss.datasets import check_dataset, contact_sheet, first_classes, open_dataset
from pnp_ovss.errors import DatasetError
from pnp_ovss.pictures.palette import VOID_COLOUR, palette
from tests.commands import caller


def test_a_good_data_set_is_counted(trees):
    check = check_dataset(open_dataset("voc", trees.voc()))
    assert check.ok
    assert (check.images, check.masks, check.classes) == (2, 2, 2)
    assert check.images_per_class[:2] == (2, 1)
    assert check.images_per_class[20] == 1
    # 8 columns each: 0 1 v 0 1 v 0 1 and 0 20 0 20 0 20 0 20
    assert check.void_share == pytest.approx(2 / 16)
    assert check.pixel_shares[0] == pytest.approx(7 / 14)
    assert check.pixel_shares[1] == pytest.approx(3 / 14)
    assert sum(check.pixel_shares) == pytest.approx(1)


def test_faults_are_collected_and_named(trees):
    data = open_dataset("voc", trees.voc())
    Image.fromarray(np.full((3, 3), 77, dtype=np.uint8)).save(data[0].labels.path)
    trees.image("JPEGImages/2007_000001.jpg", height=5)
    check = check_dataset(data)
    assert not check.ok
    assert check.unknown_values == {77: 1}
    assert any("2007_000001: the mask is" in fault and "and its image 5 x" in fault for fault in check.faults)
    assert check.masks == 2
    assert len(check.faults) == 2


def test_unreadable_files_are_faults(trees):
    data = open_dataset("voc", trees.voc())
    data[0].labels.path.write_bytes(b"no picture")
    data[1].image.write_bytes(b"no picture")
    check = check_dataset(data)
    assert len(check.faults) == 2
    assert "cannot read the mask" in check.faults[0]
    assert "cannot read the image" in check.faults[1]
    assert check.masks == 0


def bomb(path):
    """A PNG that says 200 megapixels and holds none."""
    header = struct.pack(">IIBBBBB", 20_000, 10_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(9))), (b"IEND", b"")]
    data = [struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(data))


def test_what_is_too_large_to_decode_is_a_fault(trees):
    data = open_dataset("voc", trees.voc())
    bomb(data[0].image)
    bomb(data[1].labels.path)
    image, mask = check_dataset(data).faults
    assert "cannot read the image" in image
    assert "more than 100 megapixels; scale it down" in image
    assert "cannot read the mask" in mask


def test_whatever_a_decoder_raises_is_a_fault(trees, monkeypatch):
    data = open_dataset("voc", trees.voc())

    def fails(*_, **__):
        raise struct.error("unpack requires a buffer of 4 bytes")

    monkeypatch.setattr(Image, "open", fails)
    assert len(check_dataset(data).faults) == 2


def test_photos_are_read_as_an_evaluation_reads_them(trees):
    """HEIC in a process that has read nothing yet, Pillow's opener for it not registered."""
    heif = pytest.importorskip("pillow_heif")
    root = trees.folder('images = "images"\nmasks = "masks"\nclasses = ["cat", "dog"]\nbackground = 0\nvoid = [9]\n')
    (root / "images/a.jpg").unlink()
    heif.from_pillow(Image.new("RGB", (trees.width, trees.height))).save(root / "images/a.heic")
    code = (
        "import sys; from pnp_ovss.datasets import check_dataset, contact_sheet, open_dataset\n"
        "data = open_dataset('folder', sys.argv[1]); print(*check_dataset(data).faults); contact_sheet(data)"
    )
    done = subprocess.run([sys.executable, "-c", code, root], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_contact_sheet_shows_images_and_painted_labels(trees):
    data = open_dataset("voc", trees.voc())
    one = contact_sheet(data, 1)
    both = contact_sheet(data, 99)
    assert both.width == 2 * one.width
    colours = {tuple(colour) for _, colour in both.getcolors(maxcolors=100_000)}
    aeroplane, monitor = (tuple(palette(20)[label].tolist()) for label in (1, 20))
    assert {aeroplane, monitor, VOID_COLOUR, (0, 0, 0)} <= colours


def test_a_contact_sheet_of_broken_files_is_an_error(trees):
    data = open_dataset("voc", trees.voc())
    data[0].image.write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="cannot read the image"):
        contact_sheet(data)


def test_a_look_at_the_first_masks_names_the_classes_and_goes_on(trees):
    data = open_dataset("voc", trees.voc())
    assert first_classes(data) == "classes in the first 2 masks: background 2, tv monitor 1, aeroplane 1"
    assert first_classes(data, 1) == "classes in the first 1 mask: background 1, tv monitor 1"
    data[0].labels.path.write_bytes(b"no picture")
    assert first_classes(data) == "classes in the first 2 masks: background 1, aeroplane 1; 1 cannot be read"


REAL = [
    ("voc", "voc", {}, 336, 20),
    ("voc", "voc", {"split": "train"}, 116, 20),
    ("context", "context", {"order": "59_labels", "split": "all"}, 4, None),
    ("coco-object", "coco", {}, 103, None),
    ("ade20k", "ade", {"split": "all"}, 3, None),
    ("camvid", "camvid", {}, 60, 11),
]


@pytest.mark.parametrize(("name", "folder", "options", "images", "classes"), REAL)
def test_real_data_is_read_without_faults(data_root, name, folder, options, images, classes):
    data = open_dataset(name, data_root / folder, **options)
    assert len(data) == images
    check = check_dataset(data.subset(25, seed=0))
    assert check.faults == ()
    if classes and len(data) < 100:
        assert check.classes == classes


def test_real_context_photographs_show_what_the_59_labels_order_says(data_root):
    """Bird on grass; motorbike; bus; dog on a floor: seen on the four photographs."""
    seen = {"2008_008376": "bird", "2009_000637": "motorbike", "2010_000682": "bus", "2010_003321": "dog"}
    context = open_dataset("context", data_root / "context", order="59_labels", split="all")
    for sample in context:
        assert context.vocabulary.label(seen[sample.id]) in sample.labels()


def test_faults_are_told_before_a_sheet_that_cannot_be_drawn(trees, monkeypatch, capsys, tmp_path):
    root = trees.voc()
    open_dataset("voc", root)[0].image.write_bytes(b"no picture")
    code, out, err = caller(monkeypatch, capsys)("datasets", "check", "voc", root, "--sheet", tmp_path / "sheet.png")
    assert code == 2
    assert "1 mask read" in out
    assert "cannot read the image" in err
