"""The tools that our exports are for read them: names and masks, pixel for pixel. Each runs where it is installed."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pnp_ovss.export import export_run

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def photos(run, tmp_path) -> Path:
    """Black pictures where the run's photos would lie."""
    for photo in run.photos:
        path = tmp_path / "x" / "images" / photo.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", photo.size[::-1]).save(path)
    return tmp_path / "x" / "images"


def painted(size, found) -> np.ndarray:
    """(H, W) labels of (label, mask) pairs, none of which may cover another."""
    labels, times = np.zeros(size, dtype=int), np.zeros(size, dtype=int)
    for label, mask in found:
        labels[mask] = label
        times += mask
    assert times.max(initial=0) <= 1
    return labels


def below(folder: Path, path: str) -> str:
    return Path(path).relative_to(folder).as_posix()


@pytest.mark.parametrize("name", ["coco", "yolo"])
def test_by_supervision(run, photos, name):
    sv = pytest.importorskip("supervision", reason="needs supervision")
    out = photos.parent / ("x.json" if name == "coco" else ".")
    export_run(run, name, out, min_region_px=0)
    by_file = {photo.file_name: photo for photo in run.photos}
    seen = set()
    for folder in sorted({(photos / photo.file_name).parent for photo in run.photos}):
        data = _supervised(sv, photos, out, name, folder)
        assert data.classes == list(run.class_names)
        for path, _, found in data:
            photo = by_file[below(photos, path)]
            pairs = [] if found.mask is None else zip(found.class_id + 1, found.mask, strict=True)
            assert (painted(photo.size, pairs) == photo.labels()).all()
            seen.add(photo.file_name)
    assert seen == set(by_file)


def _supervised(sv, photos: Path, out: Path, name: str, folder: Path):
    if name == "coco":  # one file for all; supervision looks below one folder
        return sv.DetectionDataset.from_coco(str(photos), str(out), force_masks=True)
    labels = out / "labels" / folder.relative_to(photos)
    return sv.DetectionDataset.from_yolo(str(folder), str(labels), str(out / "data.yaml"), force_masks=True)


def test_yolo_by_ultralytics(run, photos, monkeypatch, tmp_path):
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    utils = pytest.importorskip("ultralytics.data.utils", reason="needs ultralytics", exc_type=ImportError)
    export_run(run, "yolo", photos.parent, min_region_px=0)
    data = utils.check_det_dataset(str(photos.parent / "data.yaml"), autodownload=False)
    assert list(data["names"].values()) == list(run.class_names)
    assert Path(data["train"]) == photos
    files = [str(photos / photo.file_name) for photo in run.photos]
    for photo, image, label in zip(run.photos, files, utils.img2label_paths(files), strict=True):
        if min(photo.size) < 10:  # Ultralytics takes no such picture
            continue
        _, boxes, shape, segments, *_, corrupt, said = utils.verify_image_label(
            (image, label, "", False, len(run.class_names), 0, 0, False)
        )
        assert (corrupt, said) == (0, "")
        assert tuple(shape) == photo.size
        corners = [segment * photo.size[::-1] for segment in segments]
        drawn = [utils.polygon2mask(photo.size, [corner.reshape(-1)]).astype(bool) for corner in corners]
        found = zip(boxes[:, 0].astype(int) + 1, drawn, strict=True)
        assert (painted(photo.size, found) == photo.labels()).all()


@pytest.mark.parametrize("package", ["label_studio_sdk.converter.brush", "label_studio_converter.brush"])
def test_label_studio_by_its_own_decoder(run, tmp_path, package):
    decode = pytest.importorskip(package, reason="needs Label Studio's converter", exc_type=ImportError).decode_rle
    export_run(run, "label-studio", tmp_path / "tasks.json")
    for photo, task in zip(run.photos, json.loads((tmp_path / "tasks.json").read_text("utf-8")), strict=True):
        regions = [region["value"] for region in task["predictions"][0]["result"]]
        found = [
            (
                run.class_names.index(value["brushlabels"][0]) + 1,
                decode(value["rle"]).reshape(*photo.size, 4)[..., 3] > 0,
            )
            for value in regions
        ]
        assert (painted(photo.size, found) == photo.labels()).all()


@pytest.mark.parametrize("name", ["coco", "coco-panoptic"])
def test_coco_by_datumaro(run, photos, name, tmp_path):
    datumaro = pytest.importorskip("datumaro", reason="needs Datumaro")
    root = tmp_path / "d"
    (root / "annotations").mkdir(parents=True)
    photos.rename(root / "images")
    if name == "coco":
        export_run(run, "coco", root / "annotations" / "instances_x.json")
    else:
        export_run(run, "coco-panoptic", tmp_path / "p")
        (root / "annotations" / "panoptic_x.json").write_bytes((tmp_path / "p" / "panoptic.json").read_bytes())
        (tmp_path / "p" / "panoptic").rename(root / "annotations" / "panoptic_x")
    data = datumaro.Dataset.import_from(str(root), "coco_instances" if name == "coco" else "coco_panoptic")
    labels = [entry.name for entry in data.categories()[datumaro.AnnotationType.label].items]
    for photo in run.photos:
        item = data.get(photo.stem, "x")
        masks = [a for a in item.annotations if a.type == datumaro.AnnotationType.mask]  # boxes stand there, too
        found = [(run.class_names.index(labels[a.label]) + 1, a.image.astype(bool)) for a in masks]
        assert (painted(photo.size, found) == photo.labels()).all()
