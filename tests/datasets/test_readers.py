import pickle

import numpy as np
import pytest
from PIL import Image

from pnp_ovss.datasets import VOID, UnknownLabelError, dataset_options, list_datasets, open_dataset
from pnp_ovss.errors import DatasetError
from tests.datasets.test_folder_reader import STUFF, columns

# Pascal VOC


ROOTS = {
    "voc": (("voc",), {}),
    "context": (("context",), {"order": "59_labels"}),
    "coco-object": (("coco",), {}),
    "coco-stuff": (("stuff",), {}),
    "ade20k": (("ade",), {}),
    "folder": (("folder", STUFF), {}),
}


def written(trees, name):
    (method, *content), options = ROOTS[name]
    return getattr(trees, method)(*content), options


@pytest.mark.parametrize("name", ROOTS)
def test_an_empty_folder_is_one_line_with_the_expected_layout(trees, name):
    with pytest.raises(DatasetError, match="expected ROOT/") as error:
        open_dataset(name, trees.root, **ROOTS[name][1])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ROOTS)
def test_a_missing_image_is_counted_and_named(trees, name):
    root, options = written(trees, name)
    image = open_dataset(name, root, **options)[0].image
    image.unlink()
    if name == "folder":
        trees.text("dataset.toml", STUFF + 'list = "val.txt"')
        trees.text("val.txt", "a\nb\n")
    with pytest.raises(DatasetError, match=rf"1 of \d images missing, first .*{image.name}; expected ROOT/"):
        open_dataset(name, root, **options)


@pytest.mark.parametrize("name", ["voc", "context", "folder"])
def test_a_missing_mask_is_counted_and_named(trees, name):
    root, options = written(trees, name)
    mask = open_dataset(name, root, **options)[0].labels.path
    mask.unlink()
    with pytest.raises(DatasetError, match=rf"1 of \d masks missing, first .*{mask.name}; expected ROOT/"):
        open_dataset(name, root, **options)


@pytest.mark.parametrize("name", ["voc", "context", "ade20k"])
def test_unknown_mask_values_are_named(trees, name):
    root, options = written(trees, name)
    sample = open_dataset(name, root, **options)[0]
    Image.fromarray(np.array([[1, 251, 252, 254]], dtype=np.uint8)).save(sample.labels.path)
    with pytest.raises(UnknownLabelError, match="holds the values 251-252, 254, which are no class") as error:
        sample.labels()
    assert error.value.values == (251, 252, 254)


def test_a_colour_mask_is_refused(trees):
    sample = open_dataset("voc", trees.voc())[0]
    Image.new("RGB", (4, 4)).save(sample.labels.path)
    with pytest.raises(DatasetError, match="is a picture of mode RGB; expected an indexed or grey mask"):
        sample.labels()


def test_a_broken_mask_is_refused(trees):
    sample = open_dataset("voc", trees.voc())[0]
    sample.labels.path.write_bytes(sample.labels.path.read_bytes()[:60])
    with pytest.raises(DatasetError, match="cannot read the mask"):
        sample.labels()


def test_masks_of_16_bit_are_read(trees):
    root = trees.folder(STUFF.replace("[9]", "[9, 60000]"))
    wide = np.full((trees.height, trees.width), 60_000, dtype=np.uint16)
    wide[:, 0] = 2
    Image.fromarray(wide).save(root / "masks/a.png")
    assert columns(open_dataset("folder", root)[0])[:2] == [3, VOID]


@pytest.mark.parametrize("name", ROOTS)
def test_samples_can_be_pickled(trees, name):
    root, options = written(trees, name)
    sample = open_dataset(name, root, **options)[-1]
    assert np.array_equal(pickle.loads(pickle.dumps(sample)).labels(), sample.labels())


def test_bad_lists_are_refused(trees):
    root = trees.voc()
    trees.text("ImageSets/Segmentation/val.txt", "a\nb\na\n")
    with pytest.raises(DatasetError, match=r"val\.txt names a twice"):
        open_dataset("voc", root)
    trees.text("ImageSets/Segmentation/val.txt", "\n")
    with pytest.raises(DatasetError, match=r"val\.txt is empty"):
        open_dataset("voc", root)


def test_unknown_data_sets_options_and_roots(trees):
    with pytest.raises(DatasetError, match="no data set 'cityscapes'; there are voc, context"):
        open_dataset("cityscapes", trees.root)
    with pytest.raises(DatasetError, match="'voc' has no option 'order'; its options: split, masks"):
        open_dataset("voc", trees.root, order="59_labels")
    with pytest.raises(DatasetError, match="nowhere is no folder"):
        open_dataset("voc", trees.root / "nowhere")


def test_every_data_set_lists_its_options():
    assert {name: dataset_options(name) for name in list_datasets()} == {
        "voc": ("split", "masks"),
        "context": ("order", "split", "background"),
        "coco-object": ("split",),
        "coco-stuff": ("split",),
        "ade20k": ("split",),
        "folder": ("config",),
        "camvid": (),
    }


# Parts


def test_a_restriction_keeps_some_classes_and_makes_the_others_void(trees):
    voc = open_dataset("voc", trees.voc()).restrict((20, 5), "odd")
    assert voc.names == ("tv monitor", "bottle")
    assert columns(voc[0])[:2] == [0, 1]
    assert columns(voc[1])[:3] == [0, VOID, VOID]  # aeroplane is not among them
    assert voc.notes[-1] == "only 2 odd classes; the others are void"
    assert np.array_equal(pickle.loads(pickle.dumps(voc[0])).labels(), voc[0].labels())


@pytest.fixture
def many(trees):
    for index in range(20):
        trees.image(f"images/{index:02}.jpg", 2, 2)
        trees.mask(f"masks/{index:02}.png", 0)
    trees.text("dataset.toml", STUFF)
    return open_dataset("folder", trees.root)


def test_a_subset_keeps_the_order_and_says_what_it_is(many):
    first = many.subset(5)
    assert [sample.id for sample in first] == ["00", "01", "02", "03", "04"]
    assert first.notes[-1] == "5 of 20 images (first)"
    some = many.subset(5, seed=1)
    ids = [sample.id for sample in some]
    assert ids == sorted(ids)
    assert len(set(ids)) == 5
    assert ids == [sample.id for sample in many.subset(5, seed=1)]
    assert ids != [sample.id for sample in many.subset(5, seed=2)]


def test_a_subset_of_everything_is_the_data_set(many):
    assert many.subset(None) is many
    assert many.subset(99, seed=3) is many


@pytest.mark.parametrize("limit", [0, -1])
def test_an_empty_subset_is_an_error(many, limit):
    with pytest.raises(DatasetError, match=f"limit of {limit} images"):
        many.subset(limit)
