"""What a target cannot hold is refused before any work; names come back as they went out."""

import json
import os
import unicodedata
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pnp_ovss import Segmenter, SegmenterConfig
from pnp_ovss.datasets.folder import read_config
from pnp_ovss.errors import ConfigError, DatasetError
from pnp_ovss.export import FORMATS, default_out, export_run, read_run
from pnp_ovss.export.hf import load
from pnp_ovss.export.run import below_common
from pnp_ovss.outputs import OutputFolder
from pnp_ovss.testing.fake_vlm import FakeVLM
from tests.runs import holes, many, write_result, write_run
from tests.scenes import two_squares

ONE = (holes(), ["cat", "dog"])


def nothing_written(folder: Path) -> bool:
    return not any(path.is_file() for path in folder.rglob("*")) if folder.exists() else True


@pytest.mark.parametrize("name", ["voc", "cvat", "hf"])
@pytest.mark.parametrize("taken", ["background", "Background"])
def test_a_class_with_the_name_of_label_0_is_refused(name, taken, tmp_path):
    run = read_run(write_run(tmp_path / "run", {"x.jpg": (holes(), ["cat", taken])}))
    with pytest.raises(ConfigError, match=f"class '{taken}' has the name of label 0 in {name}: rename it"):
        export_run(run, name, tmp_path / "out" / default_out(name))
    assert nothing_written(tmp_path / "out")


@pytest.mark.parametrize("name", ["coco", "coco-panoptic", "label-studio", "yolo"])
def test_where_label_0_has_no_name_a_class_may_be_called_background(name, tmp_path):
    run = read_run(write_run(tmp_path / "run", {"x.jpg": (holes(), ["background", "cat"])}))
    assert export_run(run, name, tmp_path / default_out(name), min_region_px=0).masks >= 2


@pytest.mark.parametrize("name", ["voc", "cvat"])
@pytest.mark.parametrize("taken", ["a:b", "#a"])
def test_separators_of_the_label_map_are_refused(name, taken, tmp_path):
    run = read_run(write_run(tmp_path / "run", {"x.jpg": ONE}), [taken])
    with pytest.raises(ConfigError, match=rf"class name '{taken}' cannot stand in {name}'s labelmap\.txt"):
        export_run(run, name, tmp_path / "out" / default_out(name))
    assert nothing_written(tmp_path / "out")


@pytest.mark.parametrize("taken", ["salt, pepper", "salt; pepper", "salt\uff0cpepper", "cat # 1"])
def test_names_that_would_come_back_from_dataset_toml_as_others_are_refused(taken, tmp_path):
    run = read_run(write_run(tmp_path / "run", {"x.jpg": ONE}), [taken, "C# cup", "cat #1"])
    with pytest.raises(ConfigError, match=rf"class name '{taken}' cannot stand in voc's dataset\.toml"):
        export_run(run, "voc", tmp_path / "out")
    assert nothing_written(tmp_path / "out")
    assert export_run(run, "cvat", tmp_path / "x.zip").masks == 2


def test_names_that_look_like_separators_come_back_from_dataset_toml(tmp_path):
    names = ("C# cup", "cat #1", "a.b", "cat & dog", "[x]", '"y"', "salt/pepper")
    export_run(read_run(write_run(tmp_path / "run", {"x.jpg": ONE}), names), "voc", tmp_path / "voc")
    described = read_config(tmp_path / "voc" / "dataset.toml").vocabulary(tmp_path / "voc")
    assert described.classes == tuple((name,) for name in (*names, "cat", "dog"))


@pytest.mark.parametrize("name", ["voc", "cvat"])
@pytest.mark.parametrize("taken", ["new\nline.jpg", "a\rb.jpg", " .jpg"])
def test_photos_whose_names_are_no_line_of_a_list_are_refused(name, taken, tmp_path):
    run = read_run(write_run(tmp_path / "run", {"x.jpg": ONE, taken: ONE}))
    with pytest.raises(DatasetError, match=rf"cannot stand in {name}'s list of photos") as caught:
        export_run(run, name, tmp_path / "out" / default_out(name))
    assert len(str(caught.value).splitlines()) == 1
    assert nothing_written(tmp_path / "out")
    export_run(run, "yolo", tmp_path / "yolo")


@pytest.mark.parametrize(("name", "limit"), [("voc", 254), ("cvat", 2000), ("coco-panoptic", 2000)])
def test_more_classes_than_a_format_tells_apart(name, limit, tmp_path):
    folder = write_run(tmp_path / "run", {"x.jpg": (many(), [f"thing {i}" for i in range(limit)])})
    with pytest.raises(ConfigError, match=f"has {limit + 1} classes; {name} tells {limit} apart"):
        export_run(read_run(folder, ["one more"]), name, tmp_path / "out" / default_out(name))
    assert nothing_written(tmp_path / "out")
    assert export_run(read_run(folder, ["one more"]), "coco", tmp_path / "x.json").masks == 2


def test_exports_name_photos_that_exist(tmp_path):
    results = dict.fromkeys(("a/x.png", "b/x.png", "x.jpg", "x.png", "IMG.jpg"), ONE)
    run = read_run(write_run(tmp_path / "run", results))
    export_run(run, "coco", tmp_path / "x.json")
    names = [image["file_name"] for image in json.loads((tmp_path / "x.json").read_text())["images"]]
    assert sorted(names) == sorted(results)


@pytest.mark.parametrize("name", ["voc", "cvat", "yolo"])
@pytest.mark.parametrize("pair", [("x.jpg", "x.png"), ("a/IMG.jpg", "a/img.jpg")])
def test_photos_that_a_format_cannot_tell_apart_are_refused(name, pair, tmp_path):
    run = read_run(write_run(tmp_path / "run", dict.fromkeys(("a/y.jpg", *pair), ONE)))
    with pytest.raises(DatasetError, match=f"would share one file in {name}"):
        export_run(run, name, tmp_path / "out" / default_out(name))
    assert nothing_written(tmp_path / "out")
    export_run(run, "hf", tmp_path / "hf")
    masks = [segment["mask"] for line in (tmp_path / "hf" / "segments.jsonl").read_text().splitlines()
             for segment in json.loads(line)["segments"]]  # fmt: skip
    assert len({mask.casefold() for mask in masks}) == 6


def test_two_results_of_one_photo_are_refused(tmp_path):
    folder = write_run(tmp_path / "run", {})
    made = OutputFolder(folder)
    for stem in ("a", "a-2"):
        write_result(folder, stem, "a.jpg", *ONE)
        made.add([folder / f"{stem}.labels.png", folder / f"{stem}.json"], photo="/photos/a.jpg")
    with pytest.raises(DatasetError, match=r"a-2\.labels\.png\).* are both results of one photo"):
        export_run(read_run(folder), "coco", tmp_path / "x.json")


def test_saved_results_are_told_apart_by_their_stems_where_names_do_not(tmp_path):
    """Of arrays, which have no name, and of photos that have one name."""
    segmenter = Segmenter(FakeVLM(), SegmenterConfig(layer=2, head=2, size_px=96, refine="none"))
    for stem, name in (
        ("frame1", None),
        ("frame2", None),
        ("x", "cam.png"),
        ("y", "cam.png"),
        ("z", "v1.5"),
        ("w", "c.jpg"),
    ):
        segmenter(two_squares(), ["red"], image_name=name).save(tmp_path / "out", stem)
    run = read_run(tmp_path / "out")
    assert [photo.file_name for photo in run.photos] == ["frame1", "frame2", "c.jpg", "x.png", "y.png", "v1.5"]
    for form in FORMATS:
        assert export_run(run, form, tmp_path / form / default_out(form)).masks >= 6


@pytest.mark.parametrize("name", FORMATS)
def test_a_name_of_300_letters_concerns_one_photo(name, tmp_path):
    run = read_run(write_run(tmp_path / "run", {"x.jpg": ONE, "y.jpg": ONE}))
    from dataclasses import replace

    long = replace(run, photos=(replace(run.photos[0], file_name="x" * 300 + ".jpg"), run.photos[1]))
    written = export_run(long, name, tmp_path / default_out(name))
    assert len(written.failures) == (name in ("voc", "yolo"))


parts = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..") and not name.isspace()
)
photo_names = st.lists(st.builds(lambda part: f"{part}.jpg", parts), min_size=1, max_size=5, unique_by=str.casefold)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(photo_names)
def test_every_name_comes_back(tmp_path, names):
    """Blanks, commas, quotes, other scripts, line separators, bytes that are no text, leading dots."""
    encodable = [name for name in names if len(os.fsencode(name.encode("utf-8", "surrogatepass"))) < 240]
    names = [name for name in encodable if not any("\ud800" <= c <= "\udfff" for c in name)] or ["x.jpg"]
    root = tmp_path / str(len(list(tmp_path.iterdir())))
    run = read_run(write_run(root / "run", dict.fromkeys(names, (holes()[:6, :6], ["cat", "dog"]))))
    assert sorted(photo.file_name for photo in run.photos) == sorted(names)
    export_run(run, "coco", root / "x.json")
    assert sorted(i["file_name"] for i in json.loads((root / "x.json").read_text("utf-8"))["images"]) == sorted(names)
    export_run(run, "label-studio", root / "ls.json")
    urls = [task["data"]["image"] for task in json.loads((root / "ls.json").read_text("utf-8"))]
    assert sorted(parse_qs(urlsplit(url).query)["d"][0] for url in urls) == sorted(names)
    export_run(run, "hf", root / "hf")
    assert sorted(load(root / "hf")) == sorted(names)
    export_run(run, "yolo", root / "yolo")
    labels = {path.name for path in (root / "yolo" / "labels").iterdir()}
    assert labels == {f"{PurePosixPath(name).stem}.txt" for name in names}


def test_a_name_that_is_no_utf_8_is_written_as_text(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    run = read_run(write_run(tmp_path / "run", {name: ONE, "cup.jpg": ONE}))
    for form in FORMATS:
        written = export_run(run, form, tmp_path / form / default_out(form))
        assert written.failures == ()
    images = json.loads((tmp_path / "coco/export-coco.json").read_text("utf-8"))["images"]
    assert sorted(image["file_name"] for image in images) == ["caf\\xe9.jpg", "cup.jpg"]
    assert set(load(tmp_path / "hf" / "export-hf")) == {"caf\\xe9.jpg", "cup.jpg"}
    listed = (tmp_path / "voc/export-voc/ImageSets/Segmentation/default.txt").read_text("utf-8").splitlines()
    assert all((tmp_path / f"voc/export-voc/SegmentationClass/{stem}.png").is_file() for stem in listed)
    assert os.listdir(os.fsencode(tmp_path / "yolo/export-yolo/labels")).count(b"caf\xe9.txt") == 1
    task = json.loads((tmp_path / "label-studio/export-label-studio.json").read_text("utf-8"))[0]
    assert task["data"]["image"].endswith("?d=caf%E9.jpg")


@pytest.mark.parametrize("name", ["a\nb", "a\u2028b", "a\x7fb", " ", "\ud800"])
def test_class_names_that_are_no_line_of_text_are_refused(name, tmp_path):
    folder = write_run(tmp_path / "run", {"x.jpg": ONE})
    record = json.loads((folder / "x.json").read_text())
    record["classes"][0]["name"] = name
    (folder / "x.json").write_text(json.dumps(record))
    with pytest.raises(DatasetError, match="a name is one line of text"):
        read_run(folder)


def test_folders_in_common():
    paths = [PurePosixPath(path) for path in ("/a/b/c/x", "/a/b/d/x", "/a/b/x")]
    assert below_common(paths) == ["c/x", "d/x", "x"]
    assert below_common([PurePosixPath("x")]) == ["x"]
    assert below_common([PurePosixPath("/x"), PurePosixPath("/y/x")]) == ["x", "y/x"]


def test_categories_are_those_that_end_lines():
    assert {unicodedata.category(letter) for letter in "\n\u2028\u2029\x85"} == {"Cc", "Zl", "Zp"}


def test_a_photo_called_manifest_is_no_batch(tmp_path):
    run = read_run(write_run(tmp_path / "run", {"manifest.jpg": ONE}))
    assert [photo.file_name for photo in run.photos] == ["manifest.jpg"]
    assert (run.photos[0].labels() == np.asarray(holes())).all()
