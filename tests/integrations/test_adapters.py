"""The adapters in the tools themselves, where their packages are installed: a photo in, the result's masks out."""

import numpy as np
import pytest
from PIL import Image

from pnp_ovss import Segmenter, SegmenterConfig
from pnp_ovss.testing.fake_vlm import FakeVLM
from tests.scenes import two_squares

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # the tools' own deprecations
NAMES = ["red", "green", "blue"]


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter(FakeVLM(), SegmenterConfig(layer=2, head=2, size_px=96, refine="none"))


@pytest.fixture(scope="module")
def expected(segmenter):
    return segmenter(two_squares(), NAMES)


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(two_squares()).save(tmp_path / "scene.png")
    return tmp_path / "scene.png"


def test_fiftyone_model(segmenter, expected):
    fo = pytest.importorskip("fiftyone")
    import fiftyone.core.models as fom

    from pnp_ovss.integrations.fiftyone import FiftyOneModel

    with FiftyOneModel(segmenter, NAMES) as model:
        assert isinstance(model, fom.Model)
        found = model.predict(two_squares())
    assert isinstance(found, fo.Segmentation)
    np.testing.assert_array_equal(found.mask, expected.labels)
    assert model.mask_targets == {1: "red", 2: "green", 3: "blue"}


def test_fiftyone_apply_model(segmenter, expected, photo):
    """Needs the database that comes with FiftyOne."""
    fo = pytest.importorskip("fiftyone")
    from pnp_ovss.integrations.fiftyone import FiftyOneModel

    try:
        dataset = fo.Dataset()
    except Exception as error:
        pytest.skip(f"FiftyOne's database does not start: {str(error)[:100]}")
    dataset.add_sample(fo.Sample(filepath=str(photo)))
    model = FiftyOneModel(segmenter, NAMES)
    dataset.default_mask_targets = model.mask_targets
    dataset.apply_model(model, label_field="masks", skip_failures=False)
    np.testing.assert_array_equal(dataset.first().masks.mask, expected.labels)
    dataset.delete()


def test_autodistill_labels_a_folder(segmenter, expected, photo, tmp_path):
    pytest.importorskip("autodistill")
    from autodistill.detection import CaptionOntology

    from pnp_ovss.integrations.autodistill import PnPOVSS

    model = PnPOVSS(CaptionOntology({"red": "rose", "green": "leaf", "blue": "sky"}), segmenter)
    found = model.predict(str(photo))
    assert found.class_id.tolist() == [0, 2]
    np.testing.assert_array_equal(found.mask[1], expected["blue"])
    dataset = model.label(str(tmp_path), extension=".png", output_folder=str(tmp_path / "out"))
    assert dataset.classes == ["rose", "leaf", "sky"]
    assert [
        name.split()[0] for path in (tmp_path / "out").rglob("labels/*.txt") for name in path.read_text().splitlines()
    ]


class Context:
    """What CVAT's own `annotate_task` hands over."""

    frame_name, conf_threshold, conv_mask_to_poly = "scene.png", None, False


def test_cvat_function(segmenter, expected):
    aa = pytest.importorskip("cvat_sdk.auto_annotation")
    from cvat_sdk.masks import decode_mask

    from pnp_ovss.integrations.cvat import CvatFunction

    function = CvatFunction(segmenter, NAMES)
    assert isinstance(function.spec, aa.DetectionFunctionSpec)
    assert [label.name for label in function.spec.labels] == NAMES
    shapes = function.detect(Context(), Image.fromarray(two_squares()))
    assert [shape.label_id for shape in shapes] == [1, 3]
    back = decode_mask(shapes[1].points, image_width=128, image_height=96)
    np.testing.assert_array_equal(back, expected["blue"])


def test_cvat_polygons(segmenter, expected):
    pytest.importorskip("cvat_sdk.auto_annotation")
    from pnp_ovss.integrations.cvat import CvatFunction
    from pnp_ovss.masks.rasterise import rasterise_polygon

    context = Context()
    context.conv_mask_to_poly = True
    shapes = CvatFunction(segmenter, NAMES).detect(context, Image.fromarray(two_squares()))
    assert [shape.type.value for shape in shapes] == ["polygon", "polygon"]
    np.testing.assert_array_equal(rasterise_polygon(list(shapes[0].points), 96, 128), expected["red"])
