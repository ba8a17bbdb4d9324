"""Readers of VOC, Pascal Context, COCO and ADE20K: tiny trees written here, every label checked by its column."""

import numpy as np
import pytest

from pnp_ovss.datasets import VOID, UnknownLabelError, open_dataset
from pnp_ovss.errors import DatasetError
from tests.datasets.test_folder_reader import columns

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
    with pytest.raises(
        DatasetError, match=r"cannot read the image list .*test\.txt: No such file.*; expected ROOT/JPEGImages"
    ):
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
        (lambda d: d["categories"][0].update(name="unicorn"), "'unicorn' is no class"),
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
    with pytest.raises(DatasetError, match=r"instances_val2017\.json is not JSON.*expected ROOT/SPLIT"):
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
