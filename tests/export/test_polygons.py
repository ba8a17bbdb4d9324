"""Polygons: the mask that the tools draw from them is the mask that was exported, pixel for pixel."""

import numpy as np
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw

from pnp_ovss.export import export_run
from pnp_ovss.masks.contours import joined_outline, trace_regions
from tests.runs import holes

sides = st.integers(1, 24)
masks = st.tuples(sides, sides).flatmap(lambda shape: arrays(bool, shape))
RING = np.ones((8, 14), dtype=bool)
RING[[4, 5, 5, 6], [7, 6, 8, 7]] = False
NESTED = np.ones((9, 16), dtype=bool)
NESTED[2:7, 2:6] = NESTED[3:6, 8:14] = False
NESTED[4, 4] = NESTED[4, 10:12] = True


def draw(corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: a polygon of level and upright edges through pixels, its line and what is inside by even-odd."""
    line, left = np.zeros(size, dtype=bool), np.zeros(size, dtype=int)
    for (x1, y1), (x2, y2) in zip(corners.tolist(), np.roll(corners, -1, axis=0).tolist(), strict=True):
        assert x1 == x2 or y1 == y2
        line[min(y1, y2) : max(y1, y2) + 1, min(x1, x2) : max(x1, x2) + 1] = True
        if x1 == x2:  # pixels to the right of an upright edge, its lower end excluded
            left[min(y1, y2) : max(y1, y2), x1 + 1 :] += 1
    return line | (left % 2 == 1)


def by_pillow(corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    picture = Image.new("L", (size[1], size[0]))
    points = [tuple(point) for point in corners.tolist()]
    ImageDraw.Draw(picture).polygon(points if len(points) > 1 else points * 2, fill=1, outline=1)
    return np.asarray(picture).astype(bool)


@given(masks)
@example(RING)  # an island whose corners touch the ring around it
@example(NESTED)  # islands in holes, holes in a row
@pytest.mark.parametrize("drawn", [draw, by_pillow])
def test_each_region_is_drawn_once_and_exactly(drawn, mask):
    inside = np.zeros(mask.shape, dtype=int)
    for region in trace_regions(mask):
        inside += drawn(joined_outline(region, mask), mask.shape)
    assert (inside == mask).all()


def test_outlines_of_regions_with_holes():
    regions = trace_regions(holes() == 1)
    assert [len(region.holes) for region in regions] == [2, 0, 0, 0, 0]


def test_the_line_of_a_square_holds_its_corner_pixels_and_no_more():
    mask = np.zeros((12, 12), dtype=bool)
    mask[1:11, 1:11] = True
    (region,) = trace_regions(mask)
    assert joined_outline(region, mask).tolist() == [[1, 1], [10, 1], [10, 10], [1, 10]]


def read_yolo(path, size):
    """[(class number from 0, (n, 2) corners in pixels)] of a label file."""
    found = []
    for line in path.read_text("ascii").splitlines():
        number, *shares = line.split()
        found.append(
            (int(number), np.array(shares, dtype=np.float32).reshape(-1, 2) * np.array(size[::-1], np.float32))
        )
    return found


@pytest.mark.parametrize("to_pixels", [np.trunc, np.round], ids=["as Ultralytics", "as supervision"])
def test_yolo_lines_redraw_the_masks(run, tmp_path, to_pixels):
    assert export_run(run, "yolo", tmp_path, min_region_px=0).masks > 5
    for photo in run.photos:
        found = np.zeros(photo.size, dtype=int)
        for number, corners in read_yolo(tmp_path / "labels" / f"{photo.stem}.txt", photo.size):
            assert len(corners) >= 3
            assert (np.ptp(corners, axis=0) > 0).all(), "a box without an area is thrown away"
            found[draw(to_pixels(corners).astype(int), photo.size)] = number + 1
        assert (found == photo.labels()).all()


def test_data_yaml_works_from_any_folder_and_holds_any_name(run, tmp_path):
    export_run(run, "yolo", tmp_path)
    data = yaml.safe_load((tmp_path / "data.yaml").read_text("utf-8"))
    assert data == {"train": "images", "val": "images", "names": dict(enumerate(run.class_names))}


def test_yolo_leaves_out_specks_below_its_limit_unless_told_otherwise(tmp_path):
    from pnp_ovss.export import read_run
    from tests.runs import write_run

    labels = np.zeros((200, 200), dtype=np.uint16)
    labels[50:100, 50:100], labels[60, 60], labels[5:8, 5:7], labels[150:153, 150:153] = 1, 2, 1, 2
    run = read_run(write_run(tmp_path / "run", {"x.jpg": (labels, ["cat", "dog"])}))
    assert export_run(run, "yolo", tmp_path / "a").masks == 2  # 6 px and 1 px are below 200 * 200 / 5000 = 8
    assert export_run(run, "yolo", tmp_path / "b", min_region_px=0).masks == 4
    assert export_run(run, "coco", tmp_path / "c.json").masks == 2
    ((_, square), _) = read_yolo(tmp_path / "a" / "labels" / "x.txt", (200, 200))
    assert draw(np.trunc(square).astype(int), (200, 200)).sum() == 2500, "the hole of one pixel is closed"


@given(masks)
def test_opencv_draws_the_mask(mask):
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    found = np.zeros(mask.shape, dtype=np.uint8)
    for region in trace_regions(mask):
        cv2.fillPoly(found, [joined_outline(region, mask).astype(np.int32)], 1)
    assert (found == mask).all()


def test_supervision_reads_the_masks(run, tmp_path):
    supervision = pytest.importorskip("supervision", reason="supervision is not installed")
    export_run(run, "yolo", tmp_path, min_region_px=0)
    for photo in run.photos:
        path = tmp_path / "images" / f"{photo.stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", photo.size[::-1]).save(path)
    for folder in ("p", "q"):
        data = supervision.DetectionDataset.from_yolo(
            str(tmp_path / "images" / folder), str(tmp_path / "labels" / folder), str(tmp_path / "data.yaml"),
            force_masks=True,
        )  # fmt: skip
        assert data.classes == list(run.class_names)
        for path, _, detections in data:
            (photo,) = [p for p in run.photos if path.endswith(f"{p.stem}.png")]
            found = np.zeros(photo.size, dtype=int)
            for mask, number in zip(detections.mask if len(detections) else [], detections.class_id, strict=True):
                found[mask] = number + 1
            assert (found == photo.labels()).all()


def test_ultralytics_reads_the_masks(run, tmp_path, monkeypatch):
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    pytest.importorskip("ultralytics", reason="Ultralytics is not installed")
    from ultralytics.data.utils import polygon2mask, verify_image_label
    from ultralytics.utils.ops import resample_segments

    export_run(run, "yolo", tmp_path, min_region_px=0)
    for photo in run.photos:
        picture = tmp_path / "x.png"
        Image.new("RGB", (max(photo.size[1], 10), max(photo.size[0], 10))).save(picture)  # it reads no smaller ones
        label = str(tmp_path / "labels" / f"{photo.stem}.txt")
        read = verify_image_label((str(picture), label, "", False, len(run.class_names), 0, 0, False))
        assert read[-1] == ""
        found = np.zeros(photo.size, dtype=int)
        for row, segment in zip(read[1], resample_segments(read[3]), strict=True):
            drawn = polygon2mask(photo.size, [(segment * np.array(photo.size[::-1], np.float32)).ravel()])
            found[drawn.astype(bool)] = int(row[0]) + 1
        assert (found == photo.labels()).all()
