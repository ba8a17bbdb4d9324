"""What an export replaces and leaves out: never what others made, and photos fail one by one."""

import json

import pytest

from pnp_ovss.errors import OutputError
from pnp_ovss.export import FORMATS, default_out, export_run, read_run
from pnp_ovss.export.hf import load
from pnp_ovss.outputs import LIST
from tests.runs import holes, write_run

ONE = (holes(), ["cat", "dog"])


def test_the_run_itself_is_never_written_over(tmp_path):
    run = read_run(write_run(tmp_path / "run", {"x.jpg": ONE}))
    record = (tmp_path / "run" / "x.json").read_bytes()
    with pytest.raises(OutputError, match=r"x\.json is a file of the run and would be replaced"):
        export_run(run, "coco", tmp_path / "run" / "x.json")
    with pytest.raises(OutputError, match="is the run itself"):
        export_run(run, "voc", tmp_path / "out" / ".." / "run")
    assert (tmp_path / "run" / "x.json").read_bytes() == record


def test_masks_that_others_made_are_never_replaced(tmp_path):
    run = read_run(write_run(tmp_path / "run", {"x.jpg": ONE}))
    truth = tmp_path / "voc" / "SegmentationClass" / "x.png"
    truth.parent.mkdir(parents=True)
    truth.write_bytes(b"drawn by hand")
    with pytest.raises(OutputError, match=r"SegmentationClass/x\.png is there and was not made by a run"):
        export_run(run, "voc", tmp_path / "voc")
    assert truth.read_bytes() == b"drawn by hand"


def test_a_configuration_that_others_made_is_never_replaced(tmp_path):
    run = read_run(write_run(tmp_path / "run", {"x.jpg": ONE}))
    (tmp_path / "tasks.xml").write_text("<View>drawn by hand</View>")
    with pytest.raises(OutputError, match=r"tasks\.xml is there and is no label-studio export"):
        export_run(run, "label-studio", tmp_path / "tasks.json")
    assert (tmp_path / "tasks.xml").read_text() == "<View>drawn by hand</View>"
    assert not (tmp_path / "tasks.json").exists()
    for _ in range(2):  # both are ours the second time
        export_run(run, "label-studio", tmp_path / "other.json")
    (tmp_path / "empty.json").write_bytes(b"[]\n")  # every photo of it failed
    export_run(run, "label-studio", tmp_path / "empty.json")


@pytest.mark.parametrize("name", ["coco-panoptic", "hf", "voc", "yolo"])
def test_files_of_photos_that_are_gone_go_and_others_stay(name, tmp_path):
    out = tmp_path / "out"
    export_run(read_run(write_run(tmp_path / "one", {"x.jpg": ONE, "y.jpg": ONE})), name, out)
    (out / "mine.txt").write_text("mine")
    export_run(read_run(write_run(tmp_path / "two", {"y.jpg": ONE})), name, out)
    fresh = tmp_path / "fresh"
    export_run(read_run(tmp_path / "two"), name, fresh)
    made = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    expected = {str(path.relative_to(fresh)): path.read_bytes() for path in fresh.rglob("*") if path.is_file()}
    del made[LIST], expected[LIST]
    assert made == expected | {"mine.txt": b"mine"}


def test_results_of_an_earlier_run_are_left_out_and_counted(tmp_path):
    folder = write_run(tmp_path / "run", {"first/cat.jpg": (holes(), ["cat", "sofa"])})
    write_run(folder, {"second/cup.jpg": (holes(), ["cup", "table"])})
    run = read_run(folder)
    assert [photo.file_name for photo in run.photos] == ["cup.jpg"]
    assert (run.class_names, run.older) == (("cup", "table"), 1)


def test_a_photo_whose_labels_are_damaged_is_left_out_and_told(tmp_path):
    folder = write_run(tmp_path / "run", {"x.jpg": ONE, "y.jpg": ONE})
    (folder / "x.labels.png").write_bytes(b"no picture")
    for name in FORMATS:
        written = export_run(read_run(folder), name, tmp_path / name / default_out(name), min_region_px=0)
        assert [photo for photo, _ in written.failures] == ["x.jpg"]
        assert "cannot read the mask" in written.failures[0][1]
        assert written.masks >= 2
    assert [i["file_name"] for i in json.loads((tmp_path / "coco/export-coco.json").read_text())["images"]] == ["y.jpg"]
    assert list(load(tmp_path / "hf" / "export-hf")) == ["y.jpg"]
