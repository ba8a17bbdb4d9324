"""Masks of the wrong make are refused, and masks beside photos that EXIF turns are turned with them."""

import numpy as np
import pytest
from PIL import Image

from pnp_ovss.datasets import UnknownLabelError, check_dataset, open_dataset
from pnp_ovss.datasets.masks import IndexedMask, label_table, voc_colours
from pnp_ovss.datasets.turns import upright
from pnp_ovss.errors import DatasetError
from pnp_ovss.images import read_image

TABLE = label_table({value: value for value in range(21)}, void=(255,))


def test_a_jpeg_is_no_mask(trees):
    root = trees.voc()
    path = root / "SegmentationClass/2007_000001"
    Image.open(path.with_suffix(".png")).convert("L").save(path.with_suffix(".JPG"))
    path.with_suffix(".png").unlink()
    check = check_dataset(open_dataset("voc", root))
    assert len(check.faults) == 1
    assert "2007_000001.JPG is a JPEG, which changes values at every edge: save masks as PNG" in check.faults[0]


def test_ade_masks_that_were_reduced_are_said(trees):
    root = trees.ade()
    trees.mask("annotations/validation/ADE_val_00000001.png", 255, 0, 149)
    with pytest.raises(UnknownLabelError, match=r"values 255, .*already reduced by one: use the original ones"):
        open_dataset("ade20k", root)[0].labels()


def indexed(path, values, palette):
    picture = Image.fromarray(np.array([values], dtype=np.uint8)).convert("P")
    picture.putpalette([int(channel) for colour in palette for channel in colour])
    picture.save(path)
    return path


VOC = list(voc_colours())


def test_the_palette_of_voc_is_the_published_one():
    known = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)]
    assert VOC[:7] == known
    assert VOC[15] == (192, 128, 128)
    assert VOC[20] == (0, 64, 128)
    assert len(VOC) == 256


@pytest.mark.parametrize(
    ("values", "palette", "colours"),
    [
        ([0, 15, 255], VOC, "voc"),
        ([0, 1, 2], [(value, value, value) for value in range(256)], "voc"),
        ([0, 1, 2], [(9, 7, 5), (200, 3, 1), (4, 4, 200)], "voc"),
        ([0, 1, 2], [(0, 0, 0), (80, 80, 80), (160, 160, 160)], "any"),  # spread greys, so that people see them
        ([0, 1, 2], [VOC[0], VOC[2], VOC[1]], "any"),  # somebody's own colours
    ],
)
def test_palettes_that_only_show_the_values_are_fine(tmp_path, values, palette, colours):
    path = indexed(tmp_path / "a.png", values, palette)
    assert IndexedMask(path, TABLE, colours=colours)()[0, 1] == values[1]


@pytest.mark.parametrize(
    ("palette", "colours"),
    [
        ([(0, 0, 0), (15, 15, 15), (255, 255, 255)], "any"),
        ([VOC[0], VOC[15], VOC[255]], "voc"),
    ],
)
def test_a_palette_that_was_sorted_anew_is_refused(tmp_path, palette, colours):
    path = indexed(tmp_path / "a.png", [0, 1, 2], palette)
    with pytest.raises(DatasetError, match="value 1 has the colour of value 15 in its palette"):
        IndexedMask(path, TABLE, colours=colours)()


def turned_photo(path, orientation: int, pixels: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    more = {"tiffinfo": {0x0112: orientation}} if path.suffix == ".tif" else {"exif": exif}
    Image.fromarray(pixels).save(path, **more)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])  # Pillow says the upright size of a TIFF
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_truth_on_stored_pixels_is_turned_with_its_photo(tmp_path, orientation, name):
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    turned_photo(tmp_path / name, orientation, pixels)
    shown = read_image(tmp_path / name)
    assert shown.shape == (8, 6, 3)
    assert np.array_equal(upright(pixels[..., 0].astype(np.int32), tmp_path / name), shown[..., 0])
    drawn = shown[..., 0].astype(np.int32)  # by a tool that turns the photo itself
    assert np.array_equal(upright(drawn, tmp_path / name), drawn)


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
@pytest.mark.parametrize(("orientation", "shape"), [(2, (6, 8)), (3, (6, 8)), (4, (6, 8)), (6, (8, 8))])
def test_where_the_size_does_not_tell_exif_is_named(tmp_path, orientation, shape, name):
    turned_photo(tmp_path / name, orientation, np.zeros((*shape, 3), dtype=np.uint8))
    with pytest.raises(DatasetError, match=rf"turned by EXIF \(orientation {orientation}\).*save the photo upright"):
        upright(np.zeros(shape, dtype=np.int32), tmp_path / name)


@pytest.mark.parametrize("orientation", [0, 1, 9])
def test_photos_that_are_upright_or_of_another_size_are_left_to_the_size_check(tmp_path, orientation):
    turned_photo(tmp_path / "a.jpg", orientation, np.zeros((6, 8, 3), dtype=np.uint8))
    turned_photo(tmp_path / "b.jpg", 3, np.zeros((6, 8, 3), dtype=np.uint8))
    labels = np.ones((6, 8), dtype=np.int32)
    assert upright(labels, tmp_path / "a.jpg") is labels
    assert upright(labels[:3], tmp_path / "b.jpg").shape == (3, 8)
    assert upright(labels, None) is labels
    assert upright(labels, tmp_path / "nothing.jpg") is labels


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_readers_turn_the_truth(trees, document, orientation):
    root = trees.coco(document)
    turned_photo(root / "val2017/000000000009.jpg", orientation, np.zeros((6, 8, 3), dtype=np.uint8))
    voc = trees.voc()
    turned_photo(voc / "JPEGImages/2007_000001.jpg", orientation, np.zeros((6, 8, 3), dtype=np.uint8))
    for name in ("coco-object", "voc"):
        faults = check_dataset(open_dataset(name, root)).faults
        assert len(faults) == (1 if orientation == 3 else 0), faults
        assert all("EXIF" in fault for fault in faults)
    if orientation == 6:
        sample = open_dataset("coco-object", root)[1]
        assert (sample.labels()[7:] == 65_535).all()  # the crowd in the last column is at the bottom now
