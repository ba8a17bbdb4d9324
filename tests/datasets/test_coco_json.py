"""COCO files of other programs: refused whole, or one fault an image with its ids, never a trace."""

import copy
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pnp_ovss.datasets import check_dataset, open_dataset
from pnp_ovss.datasets.coco_json import read_coco
from pnp_ovss.errors import ClassNameError, DatasetError

SQUARE = [[2, 2, 4, 2, 4, 4, 2, 4]]


def faults(trees, document) -> tuple[str, ...]:
    return check_dataset(open_dataset("coco-object", trees.coco(document))).faults


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ([], "expected polygons or run lengths"),
        ([[]], "polygon of 0 numbers"),
        ([[1, 2, 3, 4]], "polygon of 4 numbers"),
        ([[SQUARE]], "expected a list of numbers"),
        ([1, 2, 3, 4, 5, 6], "expected a list of numbers"),
        ([[1, 2, 3, 4, 5, None]], "expected a list of numbers"),
        ([["1", 2, 3, 4, 5, 6]], "expected a list of numbers"),
        ([[1, 2, 3, 4, 5, float("nan")]], "far outside"),
        ([[1, 2, 3, 4, 5, float("-inf")]], "far outside"),
        ([[1, 2, 3, 4, 5, 1e18]], "far outside"),
        (None, "has no segmentation; a box is no mask"),
        (7, "expected polygons or run lengths"),
        ({"counts": "0", "size": [6, 8]}, "expected counts that fill it"),
        ({"counts": None, "size": [6, 8]}, "expected counts that fill it"),
        ({"counts": [48]}, "run lengths of size None"),
        ({"counts": [60, -12], "size": [6, 8]}, "expected counts that fill it"),
        ({"counts": "猫", "size": [6, 8]}, "expected counts that fill it"),
        ({"counts": [48], "size": [8, 6]}, r"size \[8, 6\] in an image of 6 x 8"),
    ],
)
def test_a_bad_segmentation_is_a_fault_of_its_image_with_both_ids(trees, document, segmentation, words):
    document["annotations"][0].update(segmentation=segmentation)
    [fault] = faults(trees, document)
    assert re.search(words, fault)
    assert "instances_val2017.json, image 9" in fault
    assert "annotation 47" in fault
    assert "\n" not in fault


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["images"][0].pop("height"), "image 9: height None and width 8"),
        (lambda d: d["images"][0].update(width="8"), "image 9: height 6 and width '8'"),
        (lambda d: d["images"][0].update(width=-8), "width -8: expected whole numbers"),
        (lambda d: d["images"][0].update(width=0), "width 0: expected whole numbers"),
        (lambda d: d["images"][0].update(width=8.5), "width 8.5: expected whole numbers"),
        (lambda d: d["images"][0].update(width=10**18), "at most 100 megapixels"),
        (lambda d: d["images"][0].update(width=True), "width True"),
        (lambda d: d["images"][0].update(file_name=None), "image 9: file_name None is no text"),
        (lambda d: d["images"][0].update(file_name=7), "image 9: file_name 7 is no text"),
        (lambda d: d["images"].append(3), r"images\[2\]: expected an object, not 3"),
        (lambda d: d["annotations"][0].update(category_id=99), "image 9: annotation 47: category_id 99 is no category"),
        (lambda d: d["annotations"][0].update(category_id=[1]), r"category_id \[1\] is no category"),
        (lambda d: d["annotations"][0].update(iscrowd="yes"), "annotation 47: iscrowd 'yes'"),
        (lambda d: d["annotations"][0].update(image_id=5), "annotation 47: image_id 5 is no image"),
        (lambda d: d["annotations"][0].update(image_id="9"), "annotation 47: image_id '9' is no image"),
        (lambda d: d["annotations"].append("x"), r"annotations\[3\]: expected an object, not 'x'"),
        (
            lambda d: d["annotations"][1].pop("id") and d["annotations"][1].update(segmentation=[]),
            "annotation number 1",
        ),
    ],
)
def test_one_bad_entry_is_one_fault_and_the_other_image_goes_on(trees, document, change, words):
    change(document)
    data = open_dataset("coco-object", trees.coco(document))
    check = check_dataset(data)
    assert re.search(words, check.faults[0])
    assert len(check.faults) == 1
    assert check.masks >= 1
    assert data[0].id == "000000000007"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["images"][1].update(id=9), "two images have the id 9"),
        (lambda d: d["annotations"][1].update(id=47), "two annotations have the id 47"),
        (lambda d: d["categories"][1].update(id=1), "two categories have the id 1"),
        (lambda d: d["images"][0].update(id=[1]), r"the id of image number 0 is \[1\]"),
        (lambda d: d["categories"][0].update(name=5), "category 1: name 5 is no text"),
        (lambda d: d.update(images={}), "images is {}"),
        (lambda d: d.update(annotations=None), "annotations is None"),
        (lambda d: d["images"][1].update(file_name="000000000009.jpg"), "two images have the id '000000000009'"),
        (lambda d: d["images"][1].update(file_name="../x.jpg"), r"'\.\./x.*names no picture below"),
        (lambda d: d["images"][1].update(file_name="/etc/x.jpg"), "'/etc/x.*names no picture below"),
        (
            lambda d: [image.update(file_name=None) for image in d["images"]],
            "no images that can be used: .*file_name None",
        ),
    ],
)
def test_what_makes_the_file_ambiguous_is_refused(trees, document, change, words):
    change(document)
    with pytest.raises(DatasetError, match=words) as caught:
        open_dataset("coco-object", trees.coco(document))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "null", "{}", "[" * 100_000, '{"images": 1, "images": 2}', "3"])
def test_other_documents_are_refused(trees, text):
    root = trees.coco()
    trees.text("annotations/instances_val2017.json", text)
    with pytest.raises(DatasetError, match=r"instances_val2017\.json is (not JSON|no COCO instances file)"):
        open_dataset("coco-object", root)


def test_whole_floats_are_sizes_and_a_mark_is_no_text(trees, document):
    for image in document["images"]:
        image.update(width=8.0, height=6.0)
    root = trees.coco(document)
    path = root / "annotations/instances_val2017.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert check_dataset(open_dataset("coco-object", root)).ok


def test_whole_floats_are_ids_too(trees, document):
    """As programs that keep tables write them."""
    for image in document["images"]:
        image["id"] = float(image["id"])
    for entry in document["annotations"]:
        entry.update(category_id=float(entry["category_id"]))
    assert check_dataset(open_dataset("coco-object", trees.coco(document))).ok


@pytest.mark.parametrize("name", ["\ud800.jpg", "x" * 5000 + ".jpg", "a/" * 3000 + "b.jpg"])
def test_a_name_that_no_file_can_have_is_a_missing_photo(trees, document, name):
    document["images"][0].update(file_name=name)
    with pytest.raises(DatasetError, match="1 of 2 images missing"):
        open_dataset("coco-object", trees.coco(document))


def test_a_corner_of_any_length_is_a_short_line(trees, document):
    document["annotations"][0].update(segmentation=[[10**400, 2, 4, 2, 4, 4]])
    [fault] = faults(trees, document)
    assert len(fault) < 300


def test_photos_of_one_name_in_two_folders_are_two(trees, document):
    names = ("a/0001.jpg", "b\\0001.JPG")
    for image, name in zip(document["images"], names, strict=True):
        image.update(file_name=name)
    trees.image("val2017/a/0001.jpg")
    trees.image("val2017/b/0001.JPG")
    data = open_dataset("coco-object", trees.coco(document))
    assert {sample.id for sample in data} == {"a/0001", "b/0001"}
    cup = data.vocabulary.label("cup")
    assert [cup in sample.labels() for sample in data] == [False, True]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "counts", "size", "name"]), inner)
    ),
    max_leaves=6,
)
PLACES = [("images", "id"), ("images", "file_name"), ("images", "width"), ("annotations", "segmentation")]
PLACES += [("annotations", "category_id"), ("annotations", "image_id"), ("annotations", "id"), ("categories", "name")]
PLACES += [("categories", "id"), ("annotations", "iscrowd"), ("images", ""), ("annotations", ""), ("", "images")]


def broken(document: dict, place: tuple[str, str], value: object) -> dict:
    """The document with one value in another one's place."""
    changed = copy.deepcopy(document)
    part, key = place
    if not part:
        changed[key] = value
    elif not key:
        changed[part][0] = value
    else:
        changed[part][0][key] = value
    return changed


def label_of(name: str) -> int:
    if name not in ("person", "cup", "dining table"):
        raise ClassNameError(f"{name!r} is no class")
    return 1


@pytest.mark.slow
@settings(max_examples=1500, deadline=20_000)
@given(st.data())
def test_no_value_anywhere_is_a_trace(tmp_path_factory, data):
    from pnp_ovss.masks.rasterise import rasterise
    from tests.datasets.conftest import coco_document

    document = broken(coco_document(), data.draw(st.sampled_from(PLACES)), data.draw(VALUES))
    path = tmp_path_factory.mktemp("fuzz") / "a.json"
    path.write_text(json.dumps(document), "utf-8")
    try:
        for image in read_coco(path, label_of, "layout")[0]:
            for one in image.instances:
                rasterise(one.segmentation, image.height, image.width)
    except DatasetError as error:
        assert "\n" not in str(error)  # noqa: PT017
