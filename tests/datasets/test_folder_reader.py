"""The reader of any folder with a description."""

import shutil

import numpy as np
import pytest

from pnp_ovss.datasets import VOID, open_dataset
from pnp_ovss.errors import DatasetError


def columns(sample) -> list[int]:
    """The labels of a mask that is the same in every row, as one row."""
    labels = sample.labels()
    assert labels.dtype == np.int32
    assert (labels == labels[0]).all()
    return labels[0].tolist()


# Pascal VOC


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


def test_a_folder_that_is_called_like_a_data_set_is_another_one(trees):
    """Else the paper's figures, and its class splits, would stand beside those of other photos."""
    root = trees.folder('name = "voc"' + STUFF)
    assert open_dataset("folder", root).name == "folder-voc"


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
        ("images = ", r"the data set description .* is not valid TOML.*expected ROOT/<images>"),
        (STUFF + "colour = 3", "unknown key 'colour'; known: images, masks"),
        (STUFF.replace('background = "none"', ""), "background is missing; expected ROOT/<images>"),
        (STUFF.replace('"none"', '"sky"'), "give a mask value or 'none'"),
        (STUFF.replace('"none"', "true"), "background = True is of the wrong type"),
        (STUFF.replace('"none"', "1"), "mask value 1 is claimed twice"),
        (STUFF.replace("[9]", "[2]"), "mask value 2 is claimed twice"),
        (STUFF.replace("[9]", "[-1]"), r"void = \[-1\]; give mask values from 0 to 65535"),
        (STUFF.replace('"none"', "-1"), "background = -1; give mask values from 0 to 65535"),
        (STUFF + "values = [true, 2, 3]", r"values = \[True, 2, 3\]; give mask values"),
        (STUFF + "values = [1]", "1 value for 3 classes"),
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
