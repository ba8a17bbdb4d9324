"""Every format read back by the tool that it is for, or by a reader written from the format's description."""

import json
import zipfile
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from pnp_ovss.export import Written, export_run
from pnp_ovss.export.coco_panoptic import segment_id
from pnp_ovss.export.hf import load
from pnp_ovss.export.label_studio import brush_rle
from pnp_ovss.pictures.palette import palette

sides = st.integers(1, 24)
masks = st.tuples(sides, sides).flatmap(lambda shape: arrays(bool, shape))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools on NumPy 2
def test_coco_by_pycocotools(run, tmp_path, capsys):
    coco = pytest.importorskip("pycocotools.coco").COCO
    assert export_run(run, "coco", tmp_path / "coco.json") == Written(5)
    data = coco(str(tmp_path / "coco.json"))
    assert {c["id"]: c["name"] for c in data.loadCats(data.getCatIds())} == dict(enumerate(run.class_names, 1))
    assert sorted(data.anns) == list(range(1, len(data.anns) + 1)), "pycocotools takes the id 0 for no match"
    for image_id, photo in enumerate(run.photos, 1):
        assert data.loadImgs(image_id)[0]["file_name"] == photo.file_name
        found = np.zeros(photo.size, dtype=int)
        for annotation in data.loadAnns(data.getAnnIds(imgIds=image_id)):
            mask = data.annToMask(annotation).astype(bool)
            found[mask] = annotation["category_id"]
            rows, columns = np.nonzero(mask)
            box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert (annotation["area"], annotation["bbox"]) == (mask.sum(), box)
        assert (found == photo.labels()).all()


def test_coco_panoptic(run, tmp_path):
    assert export_run(run, "coco-panoptic", tmp_path) == Written(5)
    data = json.loads((tmp_path / "panoptic.json").read_text("utf-8"))
    for annotation, photo in zip(data["annotations"], run.photos, strict=True):
        colours = np.asarray(Image.open(tmp_path / "panoptic" / annotation["file_name"]), dtype=np.int64)
        ids = colours @ [1, 256, 65536]
        found = np.zeros(photo.size, dtype=int)
        for segment in annotation["segments_info"]:
            assert segment["area"] == (ids == segment["id"]).sum()
            found[ids == segment["id"]] = segment["category_id"]
        assert (found == photo.labels()).all()
        assert set(np.unique(ids)) <= {0, *(s["id"] for s in annotation["segments_info"])}


def test_panoptic_ids_are_the_palette_and_never_collide(run, tmp_path):
    colours = palette(400)
    assert len({segment_id(colour) for colour in colours}) == 401
    export_run(run, "coco-panoptic", tmp_path)
    categories = json.loads((tmp_path / "panoptic.json").read_text("utf-8"))["categories"]
    assert [c["color"] for c in categories] == colours[1:6].tolist()


def test_voc_values_are_the_ids(run, tmp_path):
    assert export_run(run, "voc", tmp_path) == Written(5)
    names = (tmp_path / "ImageSets/Segmentation/default.txt").read_text().split()
    assert names == [photo.stem for photo in run.photos]
    for photo in run.photos:
        picture = Image.open(tmp_path / "SegmentationClass" / f"{photo.stem}.png")
        assert picture.mode == "P"
        assert (np.asarray(picture) == photo.labels()).all()
        assert (np.asarray(picture.convert("RGB")) == palette(5)[photo.labels()]).all()


@pytest.mark.parametrize("name", ["voc", "cvat"])
@pytest.mark.filterwarnings("ignore")
def test_voc_and_cvat_by_datumaro(run, name, tmp_path):
    datumaro = pytest.importorskip("datumaro", reason="Datumaro, what CVAT reads this format with, is not installed")
    out = tmp_path / ("x.zip" if name == "cvat" else "x")
    export_run(run, name, out)
    if name == "cvat":
        zipfile.ZipFile(out).extractall(tmp_path / "x")
    data = datumaro.Dataset.import_from(str(tmp_path / "x"), "voc_segmentation")
    labels = data.categories()[datumaro.AnnotationType.label]
    assert [entry.name for entry in labels.items] == ["background", *run.class_names]
    for photo in run.photos:
        item = data.get(photo.stem, "default")
        found = np.zeros(photo.size, dtype=int)
        for annotation in item.annotations:
            found[annotation.image.astype(bool)] = annotation.label
        assert (found == photo.labels()).all()


def test_cvat_by_its_label_map(run, wide_run, tmp_path):
    for which in (run, wide_run):
        export_run(which, "cvat", tmp_path / "x.zip")
        archive = zipfile.ZipFile(tmp_path / "x.zip")
        lines = [line.split(":") for line in archive.read("labelmap.txt").decode().splitlines()[1:]]
        assert [line[0] for line in lines] == ["background", *which.class_names]
        colours = np.array([[int(v) for v in line[1].split(",")] for line in lines]) @ [1, 256, 65536]
        for photo in which.photos:
            picture = Image.open(archive.open(f"SegmentationClass/{photo.stem}.png")).convert("RGB")
            ids = np.asarray(picture, dtype=np.int64) @ [1, 256, 65536]
            assert (colours[photo.labels()] == ids).all()


def _decode_brush(rle):
    """Label Studio's brush RLE from its description; values 0..255 of an RGBA picture, flat."""
    bits = "".join(f"{byte:08b}" for byte in rle)
    place = 0

    def read(count):
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    total, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values = []
    while len(values) < total:
        repeated, length = read(1), read(sizes[read(2)]) + 1
        values += [read(word)] * length if repeated else [read(word) for _ in range(length)]
    return np.array(values)


@given(masks)
def test_brush_rle(mask):
    values = _decode_brush(brush_rle(mask)).reshape(*mask.shape, 4)
    assert (values == mask[..., None] * 255).all()


def test_brush_rle_of_long_runs():
    mask = np.zeros((300, 200), dtype=bool)
    mask[10:290] = True
    assert (_decode_brush(brush_rle(mask)).reshape(300, 200, 4)[..., 3] == mask * 255).all()


@pytest.mark.filterwarnings("ignore")
def test_brush_rle_by_label_studio(run):
    brush = pytest.importorskip("label_studio_sdk.converter.brush", reason="Label Studio's SDK is not installed")
    for _, mask in run.photos[0].masks():
        assert (np.asarray(brush.decode_rle(brush_rle(mask))).reshape(*mask.shape, 4)[..., 3] == mask * 255).all()


def test_label_studio_tasks_and_configuration(run, tmp_path):
    assert export_run(run, "label-studio", tmp_path / "x.json") == Written(5)
    tasks = json.loads((tmp_path / "x.json").read_text("utf-8"))
    assert [task["data"]["image"].split("=")[1] for task in tasks] == ["p/a.jpg", "q/a.jpg", "q/b.png"]
    regions = [region for task in tasks for region in task["predictions"][0]["result"]]
    assert len({region["id"] for region in regions}) == 5
    config = ElementTree.parse(tmp_path / "x.xml").getroot()
    assert [label.get("value") for label in config.iter("Label")] == list(run.class_names)
    brushes = config.find("BrushLabels")
    assert all((r["from_name"], r["to_name"]) == (brushes.get("name"), brushes.get("toName")) for r in regions)
    assert next(config.iter("Label")).get("background") == "#E69F00"


def test_hf_dicts(run, tmp_path):
    assert export_run(run, "hf", tmp_path) == Written(5)
    photos = load(tmp_path)
    assert list(photos) == ["p/a.jpg", "q/a.jpg", "q/b.png"]
    assert photos["q/a.jpg"] == []
    for photo in run.photos:
        expected = {run.class_names[label - 1]: mask for label, mask in photo.masks()}
        for segment in photos[photo.file_name]:
            assert segment["mask"].mode == "L"
            assert (np.asarray(segment["mask"]) == expected.pop(segment["label"]) * 255).all()
        assert not expected
    assert json.loads((tmp_path / "id2label.json").read_text("utf-8"))["4"] == "Katze & Co"
