import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pnp_ovss.errors import DatasetError
from pnp_ovss.masks.rasterise import rasterise, rasterise_polygon
from pnp_ovss.masks.rle import decode_counts

coco_mask = pytest.importorskip("pycocotools.mask", reason="pycocotools is the oracle of the rasteriser")

# pycocotools itself is not quite ready for NumPy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

coordinates = st.floats(-6, 40, allow_nan=False, width=32) | st.integers(-6, 40).map(float)
polygons = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=9).map(
    lambda corners: [value for corner in corners for value in corner]
)


@settings(deadline=None, max_examples=150)
@given(polygon=polygons, height=st.integers(1, 33), width=st.integers(1, 33))
def test_a_polygon_is_drawn_as_pycocotools_draws_it(polygon, height, width):
    oracle = coco_mask.decode(coco_mask.frPyObjects([polygon], height, width))[..., 0]
    assert np.array_equal(rasterise_polygon(polygon, height, width), oracle.astype(bool))


@settings(deadline=None, max_examples=50)
@given(bits=st.lists(st.booleans(), min_size=1, max_size=400), height=st.integers(1, 20))
def test_compressed_and_plain_runs_give_the_mask_back(bits, height):
    width = -(-len(bits) // height)
    mask = np.resize(np.array(bits), (height, width))
    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    assert np.array_equal(rasterise(encoded, height, width), mask)
    plain = {"size": [height, width], "counts": decode_counts(encoded["counts"].decode())}
    assert np.array_equal(rasterise(plain, height, width), mask)


def test_a_square_by_hand():
    mask = rasterise_polygon([1, 1, 4, 1, 4, 3, 1, 3], height=5, width=6)
    expected = np.zeros((5, 6), dtype=bool)
    expected[1:3, 1:4] = True
    assert np.array_equal(mask, expected)


def test_several_polygons_are_united_not_cut_out():
    square = [0, 0, 4, 0, 4, 4, 0, 4]
    inner = [1, 1, 3, 1, 3, 3, 1, 3]
    assert np.array_equal(rasterise([square, inner], 5, 5), rasterise([square], 5, 5))


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1, 2, 3, 4]], "polygon of 4 numbers"),
        ([], "expected polygons or run lengths"),
        ("abc", "expected polygons or run lengths"),
        ({"size": [5, 5], "counts": [3, 4]}, r"run lengths of size \[5, 5\] in an image of 5 x 5"),
        ({"size": [4, 5], "counts": [20]}, r"run lengths of size \[4, 5\] in an image of 5 x 5"),
        ({"size": [5, 5], "counts": [30, -5]}, "expected counts that fill it"),
        ({"size": [5, 5], "counts": [25.0]}, "expected counts that fill it"),
        ({"size": None, "counts": [25]}, "run lengths of size None"),
        ({"size": [5, 5], "counts": None}, "expected counts that fill it"),
        ({"size": [5, 5], "counts": "\u732b" * 9}, "expected counts that fill it"),
        ([1, 2, 3, 4, 5, 6], "expected a list of numbers"),
        ([None], "expected a list of numbers"),
        ([["1", 2, 3, 4, 5, 6]], "expected a list of numbers"),
        ([[1, 2, 3, 4, 5, None]], "expected a list of numbers"),
        ([[1, 2, 3, 4, 5, True]], "expected a list of numbers"),
        ([[1, 2, 3, 4, 5, float("nan")]], "corner at nan, far outside"),
        ([[1, 2, 3, 4, 5, float("inf")]], "corner at inf, far outside"),
        ([[1, 2, 3, 4, 5, 1e12]], "far outside"),
        ([[1, 2, 3, 4, 5, -(10**400)]], "far outside"),
        ([[0, 0, 24, 24] * 300_000], "too long"),
    ],
)
def test_what_is_no_segmentation_is_an_error(segmentation, message):
    with pytest.raises(DatasetError, match=message):
        rasterise(segmentation, 5, 5)


def test_real_instances_are_drawn_as_pycocotools_draws_them(data_root):
    document = json.loads((data_root / "coco/annotations/instances_val2017.json").read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in document["images"]}
    for annotation in document["annotations"][::5]:
        height, width = sizes[annotation["image_id"]]
        runs = coco_mask.frPyObjects(annotation["segmentation"], height, width)
        oracle = coco_mask.decode(coco_mask.merge(runs) if isinstance(runs, list) else runs)
        assert np.array_equal(rasterise(annotation["segmentation"], height, width), oracle.astype(bool))
