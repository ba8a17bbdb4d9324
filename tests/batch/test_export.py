"""A batch handed on: every format, names of photos in folders, tars and Parquet files, and what is left out."""

import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from poison import COLOURS, job, make_photo
from typer.testing import CliRunner

from pnp_ovss.batch.job import Resources
from pnp_ovss.batch.run import run_batch
from pnp_ovss.cli.main import app
from pnp_ovss.errors import DatasetError
from pnp_ovss.export import FORMATS, default_out, export_run, read_run
from pnp_ovss.export.batch_run import location
from pnp_ovss.export.hf import load
from pnp_ovss.export.run import RunPhoto, file_stems
from pnp_ovss.images import read_image


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """a/x.png, b/x.png, b/x.bmp, a tar with in/t.png, a Parquet file with one row, and a broken photo."""
    folder = tmp_path_factory.mktemp("photos")
    for seed, name in enumerate(("a/x.png", "b/x.png", "b/x.bmp", "t.png", "p.png")):
        make_photo(folder / name, seed)
    with tarfile.open(folder / "shard.tar", "w") as tar:
        tar.add(folder / "t.png", "in/t.png")
    pq.write_table(pa.table({"image": [(folder / "p.png").read_bytes()]}), folder / "rows.parquet")
    (folder / "a" / "broken.png").write_bytes(b"no photo")
    return folder


@pytest.fixture(scope="module")
def out(photos) -> Path:
    folder = photos.parent / "batch"
    run_batch([str(photos)], folder, job(), Resources(workers=1), shard_size=3)
    return folder


def _expected(photo: Path, ids: dict[str, int]) -> np.ndarray:
    image = read_image(photo)
    return sum(ids[name] * (image == colour).all(axis=2) for name, colour in COLOURS.items())


def test_names_labels_and_what_is_left_out(out, photos):
    run = read_run(out)
    assert run.class_names == ("red", "green", "blue")
    assert {photo.file_name: photo.stem for photo in run.photos} == {
        "a/x.png": "a/x",
        "b/x.bmp": "b/x",
        "b/x.png": "b/x",
        "p.png": "p",
        "rows-0": "rows-0",
        "shard.tar/in/t.png": "shard.tar/in/t",
        "t.png": "t",
    }
    assert run.left_out == 1
    source = {"rows-0": "p.png", "shard.tar/in/t.png": "t.png"}
    for photo in run.photos:
        expected = _expected(photos / source.get(photo.file_name, photo.file_name), {"red": 1, "green": 2, "blue": 3})
        assert photo.size == expected.shape
        assert (photo.labels() == expected).all()


def test_given_names_come_first(out, photos):
    run = read_run(out, ["cat", "Blue"])
    assert run.class_names == ("cat", "Blue", "red", "green")
    assert run.photos[0].file_name == "p.png"
    assert (run.photos[0].labels() == _expected(photos / "p.png", {"blue": 2, "red": 3, "green": 4})).all()


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_takes_it(out, photos, name, tmp_path):
    target = tmp_path / default_out(name)
    if name in ("cvat", "voc", "yolo"):
        with pytest.raises(DatasetError, match=r"b/x\.bmp .* and b/x\.png .* would share one file"):
            export_run(read_run(out), name, target)
        (photos / "b" / "x.bmp").rename(photos / "b" / "y.bmp")
        out = tmp_path / "again"
        run_batch([str(photos)], out, job(), Resources(workers=1), shard_size=3)
        (photos / "b" / "y.bmp").rename(photos / "b" / "x.bmp")
    written = export_run(read_run(out), name, target)
    assert written.masks >= 14
    assert not written.failures
    if name == "hf":
        assert set(load(target)) == {photo.file_name for photo in read_run(out).photos}
    if name == "voc":
        for line in (target / "ImageSets/Segmentation/default.txt").read_text().splitlines():
            assert (target / "SegmentationClass" / f"{line}.png").is_file()


def test_command(out, tmp_path):
    result = CliRunner().invoke(app, ["export", str(out), "--to", "coco", "--out", str(tmp_path / "x.json")])
    assert result.exit_code == 0
    assert "7 photos, 3 classes, " in result.output
    assert "; left out: 1 photo of the run, failed or not done" in result.output
    data = json.loads((tmp_path / "x.json").read_text())
    assert "b/x.bmp" in [image["file_name"] for image in data["images"]]


def test_an_unfinished_shard_is_left_out(photos, tmp_path):
    run_batch([str(photos)], tmp_path, job(), Resources(workers=1), shard_size=3)
    (tmp_path / "shards" / "part-000000.parquet").unlink()
    assert read_run(tmp_path).left_out == 4
    for shard in (tmp_path / "shards").iterdir():
        shard.unlink()
    with pytest.raises(DatasetError, match="no segmented photo in a finished shard"):
        read_run(tmp_path)


def test_damaged_run_lengths(photos, tmp_path):
    run_batch([str(photos / "a" / "x.png")], tmp_path, job(), Resources(workers=1))
    path = next((tmp_path / "shards").iterdir())
    (row,) = pq.read_table(path).to_pylist()
    pq.write_table(pa.Table.from_pylist([row | {"height": 7}], pq.read_schema(path)), path)
    run = read_run(tmp_path)
    assert [photo.file_name for photo in run.photos] == ["x.png"]
    with pytest.raises(DatasetError, match="7"):
        run.photos[0].labels()


def test_a_tar_cannot_name_a_place_outside(tmp_path):
    assert location("/d/x.tar", "x.tar/../../etc/t.png") == PurePosixPath("/d/x.tar/etc/t.png")
    assert location("/d/x.tar", "x.tar//t.png") == PurePosixPath("/d/x.tar/t.png")


def test_a_folder_of_a_photo_s_own_name_is_no_tar():
    assert location("/d/x.png/x.png", "x.png/x.png") == PurePosixPath("/d/x.png/x.png")


def test_a_suffix_goes_only_if_it_is_a_photo_s_and_no_two_are_one_file():
    names = ("data.v2-5", "x.png", "x.jpg", "x-2.png", "X.png")
    photos = [RunPhoto(name, (1, 1), lambda: np.zeros((1, 1), np.uint16), (0,)) for name in names]
    assert list(file_stems(photos).values()) == ["data.v2-5", "x", "x-2", "x-2-2", "X-3"]


def test_a_batch_that_was_made_anew_in_one_process_is_read_anew(photos, tmp_path):
    out = tmp_path / "batch"
    found = []
    for name in ("red", "green"):
        shutil.rmtree(out, ignore_errors=True)
        run_batch([str(photos / "t.png")], out, replace(job(), classes=((name,),)), Resources(workers=1))
        (photo,) = read_run(out).photos
        found.append(photo.labels())

    photo = read_image(photos / "t.png")
    for labels, name in zip(found, ("red", "green"), strict=True):
        np.testing.assert_array_equal(labels == 1, (photo == COLOURS[name]).all(axis=2))
