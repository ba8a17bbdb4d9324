import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from pnp_ovss.datasets import VOID, UnknownLabelError, dataset_options, list_datasets, open_dataset
from pnp_ovss.errors import DatasetError


def columns(sample) -> list[int]:
    """The labels of a mask that is the same in every row, as one row."""
    labels = sample.labels()
    assert labels.dtype == np.int32
    assert (labels == labels[0]).all()
    return labels[0].tolist()


# Pascal VOC


def test_voc(trees):
    voc = open_dataset("voc", trees.voc())
    assert [sample.id for sample in voc] == ["2007_000002", "2007_000001"]
    assert columns(voc[0]) == [0, 20, 0, 20, 0, 20, 0, 20]
    assert columns(voc[1]) == [0, 1, VOID, 0, 1, VOID, 0, 1]
    assert voc.has_background
    assert voc.names[19] == "tv monitor"
    assert voc.notes == ("split val", "masks from SegmentationClass")
    assert voc[0].image == trees.root / "JPEGImages/2007_000002.jpg"


def test_voc_takes_the_augmented_masks_if_there_are_no_others_or_if_asked(trees):
    root = trees.voc("SegmentationClassAug")
    assert "masks from SegmentationClassAug" in open_dataset("voc", root).notes
    trees.voc("SegmentationClass")
    assert "masks from SegmentationClass" in open_dataset("voc", root).notes
    asked = open_dataset("voc", root, masks="SegmentationClassAug")
    assert "masks from SegmentationClassAug" in asked.notes


def test_voc_splits(trees):
    root = trees.voc()
    assert [sample.id for sample in open_dataset("voc", root, split="train")] == ["2007_000001"]
    assert len(open_dataset("voc", root, split="all")) == 2
    with pytest.raises(DatasetError, match=r"cannot read the image list .*test\.txt; expected ROOT/JPEGImages"):
        open_dataset("voc", root, split="test")


def test_voc_is_found_inside_the_devkit(trees):
    inside = trees.root / "VOCdevkit/VOC2012"
    type(trees)(inside).voc()
    assert len(open_dataset("voc", trees.root)) == 2


# Pascal Context


def test_context_in_both_orders(trees):
    root = trees.context()
    own = open_dataset("context", root, order="59_labels")
    assert columns(own[0])[:4] == [VOID, 1, 2, 59]
    assert own.names[1] == "bicycle"
    assert not own.has_background
    other = open_dataset("context", root, order="mmsegmentation")
    assert columns(other[0])[:4] == [VOID, 1, other.vocabulary.label("bag"), 59]
    assert any("mmsegmentation (alphabetical)" in note for note in other.notes)


def test_context_60_counts_the_background(trees):
    context = open_dataset("context", trees.context(), order="59_labels", background=True)
    assert context.has_background
    assert columns(context[0])[0] == 0


def test_context_never_guesses_the_order(trees):
    with pytest.raises(DatasetError, match=r"class order of the masks in .* is not stated.*59_labels.*mmsegmentation"):
        open_dataset("context", trees.context())


def test_context_reads_the_order_from_a_file(trees):
    root = trees.context()
    names = open_dataset("context", root, order="59_labels").names
    backwards = [f"{value}: {name}" for value, name in enumerate(reversed(names), start=1)]
    trees.text("59_labels.txt", "\n".join(["0: background", *backwards]))
    assert columns(open_dataset("context", root)[0])[:4] == [VOID, 59, 58, 1]
    trees.text("plain.txt", "\n".join(names))
    plain = open_dataset("context", root, order=str(root / "plain.txt"))
    assert columns(plain[0])[:4] == [VOID, 1, 2, 59]


@pytest.mark.parametrize(
    "lines",
    [
        ["1: aeroplane", "2: bicycle"],
        ["aeroplane"] * 59,
        [f"{value}: {name}" for value, name in enumerate([*"abc", *["dog"] * 56], start=1)],
    ],
)
def test_context_refuses_a_file_that_is_no_order(trees, lines):
    trees.text("order.txt", "\n".join(lines))
    with pytest.raises(DatasetError, match=r"order\.txt does not name each of the 59 classes once"):
        open_dataset("context", trees.context(), order=str(trees.root / "order.txt"))


def test_context_refuses_an_unknown_order(trees):
    with pytest.raises(DatasetError, match="order 'alphabetic': not one of 59_labels, mmsegmentation"):
        open_dataset("context", trees.context(), order="alphabetic")


# COCO


def test_coco_object_draws_small_over_large_and_crowds_void(trees):
    coco = open_dataset("coco-object", trees.coco())
    assert [sample.id for sample in coco] == ["000000000007", "000000000009"]
    cup, table = coco.vocabulary.label("cup"), coco.vocabulary.label("dining table")
    expected = np.zeros((trees.height, trees.width), dtype=np.int32)
    expected[:, 6:] = VOID
    expected[1:6, 0:7] = table
    expected[2:4, 2:4] = cup
    assert np.array_equal(coco[1].labels(), expected)
    assert not coco[0].labels().any()
    assert coco[0].labels().shape == (trees.height, trees.width)


def test_coco_object_does_not_depend_on_the_order_of_annotations(trees, document):
    first = open_dataset("coco-object", trees.coco(document))[1].labels()
    document["annotations"].reverse()
    assert np.array_equal(open_dataset("coco-object", trees.coco(document))[1].labels(), first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("annotations"), "no COCO instances file .*annotations"),
        (lambda d: d["images"][0].pop("height"), "height or width of an image"),
        (lambda d: d["categories"][0].update(name="unicorn"), "'unicorn' is no class"),
        (lambda d: d["annotations"][0].update(category_id=99), "no COCO instances file .*99"),
        (lambda d: (d["images"].clear(), d["annotations"].clear()), "lists no images"),
    ],
)
def test_coco_object_refuses_other_json(trees, document, change, message):
    change(document)
    with pytest.raises(DatasetError, match=message):
        open_dataset("coco-object", trees.coco(document))


def test_coco_object_needs_its_json(trees):
    root = trees.coco()
    trees.text("annotations/instances_val2017.json", "{")
    with pytest.raises(DatasetError, match=r"cannot read .*instances_val2017\.json.*expected ROOT/SPLIT"):
        open_dataset("coco-object", root)


@pytest.mark.parametrize("write", ["stuff", "stuff_train_ids"])
def test_coco_stuff_in_both_forms(trees, write):
    stuff = open_dataset("coco-stuff", getattr(trees, write)())
    assert columns(stuff[0])[:5] == [1, 80, 81, 171, VOID]
    assert stuff[0].id == "000000000009"
    assert stuff.names[80] == "banner"
    assert not stuff.has_background


def test_coco_stuff_refuses_a_category_that_was_never_annotated(trees):
    root = trees.stuff()
    trees.mask("stuffthingmaps/val2017/000000000009.png", 11)  # category id 12
    with pytest.raises(UnknownLabelError, match="holds the values 11, which are no class; known: 0-10, 12-24") as error:
        open_dataset("coco-stuff", root)[0].labels()
    assert error.value.values == (11,)


# ADE20K


def test_ade20k_has_no_zero_label(trees):
    ade = open_dataset("ade20k", trees.ade())
    assert columns(ade[0])[:3] == [VOID, 1, 150]
    assert ade.names[149] == "flag"
    assert not ade.has_background


def test_ade20k_without_split_folders(trees):
    trees.image("images/x.jpg")
    trees.mask("annotations/x.png", 7)
    assert columns(open_dataset("ade20k", trees.root, split="all")[0])[0] == 7


def test_ade20k_without_masks(trees):
    (trees.root / "annotations/validation").mkdir(parents=True)
    with pytest.raises(DatasetError, match="holds no masks; expected ROOT/images/SPLIT"):
        open_dataset("ade20k", trees.root)


# Folders

STUFF = """
images = "images"
masks = "masks"
classes = ["sky", "road, street", "tree"]
background = "none"
void = [9]
"""
OBJECTS = 'name = "pets"\nimages = "images"\nmasks = "masks"\nclasses = "pets.txt"\nbackground = 0\nvoid = [9]\n'


def test_a_folder_without_background_counts_from_zero(trees):
    data = open_dataset("folder", trees.folder(STUFF))
    assert [sample.id for sample in data] == ["a", "b"]
    assert columns(data[0])[:3] == [1, 2, 3]
    assert columns(data[1])[:2] == [3, VOID]
    assert data.vocabulary.label("street") == 2
    assert not data.has_background
    assert data.name == trees.root.name


def test_a_folder_with_background_counts_from_one(trees):
    trees.text("pets.txt", "cat\ndog\n")
    data = open_dataset("folder", trees.folder(OBJECTS))
    assert columns(data[0])[:3] == [0, 1, 2]
    assert data.names == ("cat", "dog")
    assert data.has_background
    assert data.name == "pets"


def test_a_folder_with_values_suffix_list_and_its_description_elsewhere(trees):
    root = trees.folder(STUFF)
    trees.mask("masks/a_gt.png", 40, 7)
    trees.text("val.txt", "a\n")
    toml = STUFF + 'values = [40, 7, 8]\nmask_suffix = "_gt"\nlist = "val.txt"\n'
    trees.text("elsewhere/description.toml", toml)
    data = open_dataset("folder", root, config=root / "elsewhere/description.toml")
    assert len(data) == 1
    assert columns(data[0])[:2] == [1, 2]


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("images = ", "cannot read the data set description"),
        (STUFF + "colour = 3", "unknown key 'colour'; known: images, masks"),
        (STUFF.replace('background = "none"', ""), "background is missing; expected ROOT/<images>"),
        (STUFF.replace('"none"', '"sky"'), "give a mask value or 'none'"),
        (STUFF.replace('"none"', "true"), "background = True is of the wrong type"),
        (STUFF.replace('"none"', "1"), "mask value 1 is claimed twice"),
        (STUFF.replace("[9]", "[2]"), "mask value 2 is claimed twice"),
        (STUFF.replace("[9]", "[-1]"), r"void = \[-1\]; give mask values from 0 to 65535"),
        (STUFF + "values = [1]", "1 values for 3 classes"),
        (STUFF.replace('"images"', '"pictures"'), r"has no pictures \(found: dataset.toml, images, masks\)"),
        (STUFF.replace('["sky", "road, street", "tree"]', "[]"), "no classes"),
    ],
)
def test_a_bad_folder_description_is_one_line(trees, toml, message):
    with pytest.raises(DatasetError, match=message) as error:
        open_dataset("folder", trees.folder(toml))
    assert "\n" not in str(error.value)


def test_a_folder_whose_images_clash_is_refused(trees):
    root = trees.folder(STUFF)
    trees.image("images/a.png")
    with pytest.raises(DatasetError, match=r"holds both a\.jpg and a\.png"):
        open_dataset("folder", root)


def test_camvid_needs_no_description(trees):
    root = trees.folder("")
    shutil.copy(root / "masks/a.png", root / "masks/b.png")
    trees.mask("masks/a.png", 0, 10, 11)
    camvid = open_dataset("camvid", root)
    assert camvid.name == "camvid"
    assert columns(camvid[0])[:3] == [1, 11, VOID]
    assert camvid.names[0] == "sky"


# What all have in common

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
    assert voc.notes[-1] == "only the 2 odd classes; the others are void"
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
