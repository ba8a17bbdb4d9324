"""Reading a run back: ids, names, files and errors."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy import ndimage
from typer.testing import CliRunner

from pnp_ovss.cli.main import app
from pnp_ovss.config import SegmenterConfig
from pnp_ovss.errors import ConfigError, DatasetError, OutputError
from pnp_ovss.export import FORMATS, default_out, export_run, read_run
from pnp_ovss.masks.specks import remove_specks
from pnp_ovss.segmenter import Segmenter
from pnp_ovss.testing.fake_vlm import FakeVLM
from tests.runs import holes, many, noise, write_result
from tests.scenes import two_squares


def test_reads_what_a_segmentation_saves(tmp_path):
    config = SegmenterConfig(layer=2, head=2, size_px=96, refine="none")
    result = Segmenter(FakeVLM(), config)(Image.fromarray(two_squares()), ["red", "green", "blue"], image_name="x.jpg")
    result.save(tmp_path)
    run = read_run(tmp_path)
    assert run.class_names == ("red", "green", "blue")
    assert run.photos[0].file_name == "x.jpg"
    assert set(np.unique(run.photos[0].labels())) == {0, 1, 3}
    assert (run.photos[0].labels() == result.labels).all()


def test_photos_with_other_classes_share_one_list(run):
    assert run.class_names == ("cat", "traffic light", "absent", "Katze & Co", "dog")
    assert [photo.stem for photo in run.photos] == ["p/a", "q/a", "q/b"]
    assert (run.photos[0].labels() == holes()).all()
    assert (run.photos[2].labels() == np.array([0, 4, 2, 5])[noise()]).all()


def test_given_names_come_first_and_keep_their_ids(run_dir):
    run = read_run(run_dir, ["dog", "cat"])
    assert run.class_names == ("dog", "cat", "traffic light", "absent", "Katze & Co")
    assert (run.photos[2].labels() == np.array([0, 5, 3, 1])[noise()]).all()


def test_sixteen_bit_labels(wide_run):
    photo = wide_run.photos[1]
    assert wide_run.class_names[photo.table[290] - 1] == "thing 290"
    assert ((photo.labels() == photo.table[290]) == (many() == 290)).all()


@given(arrays(np.uint16, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 2)))
def test_no_region_is_a_speck_and_large_ones_stay(labels):
    cleaned = remove_specks(labels, 4)
    sizes = {label: ndimage.label(labels == label)[0] for label in range(3)}
    kept = np.zeros(labels.shape, dtype=bool)
    for label, regions in sizes.items():
        for region in range(1, regions.max() + 1):
            if (regions == region).sum() >= 4:
                kept |= regions == region
                assert (cleaned[regions == region] == label).all()
    if kept.any():
        for label in range(3):
            regions = ndimage.label(cleaned == label)[0]
            assert all(np.bincount(regions.ravel())[1:] >= 4)
    else:
        assert (cleaned == labels).all()


def test_a_run_without_specks(run):
    assert len(np.unique(run.photos[2].labels())) == 4
    cleaned = run.without_specks(20)
    assert (cleaned.photos[0].labels()[15:, 24:27] == 0).all()
    assert (cleaned.photos[0].labels()[5:7, 6:8] == 1).all()
    assert run.without_specks(0) == run
    with pytest.raises(ConfigError, match="at least -1 px"):
        run.without_specks(-1)


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_run_gives_the_same_bytes(run, name, tmp_path):
    outs = []
    for folder in ("one", "two"):
        out = tmp_path / folder / default_out(name)
        export_run(run, name, out)
        files = sorted(p for p in out.parent.rglob("*") if p.is_file())
        outs.append({str(p.relative_to(tmp_path / folder)): p.read_bytes() for p in files})
    assert outs[0] == outs[1] != {}


def test_folders_without_results(tmp_path):
    with pytest.raises(DatasetError, match=r"holds no \*\.labels\.png"):
        read_run(tmp_path)
    with pytest.raises(DatasetError, match="is not a folder"):
        read_run(tmp_path / "none")


def test_damaged_results(run_dir):
    (run_dir / "a-2.json").unlink()
    with pytest.raises(DatasetError, match=r"no a-2\.json beside it"):
        read_run(run_dir)
    (run_dir / "a-2.json").write_text('{"image": "x.jpg", "size": [5, 6]}')
    with pytest.raises(DatasetError, match="'classes'"):
        read_run(run_dir)
    write_result(run_dir, "a-2", "a.jpg", np.full((5, 6), 1, np.uint16), ["x"])
    record = json.loads((run_dir / "a-2.json").read_text())
    (run_dir / "a-2.json").write_text(json.dumps({**record, "size": [6, 5]}))
    with pytest.raises(DatasetError, match="is 6 x 5 px, its JSON says 5 x 6 px"):
        read_run(run_dir).photos[1].labels()
    (run_dir / "a-2.json").write_text(json.dumps({**record, "classes": []}))
    with pytest.raises(DatasetError, match="holds label 1, its JSON has 0 classes"):
        read_run(run_dir).photos[1].labels()


def test_unknown_formats_endings_and_folders(run, tmp_path):
    with pytest.raises(ConfigError, match="unknown format 'png'; choose from coco,"):
        export_run(run, "png", tmp_path)
    with pytest.raises(ConfigError, match=r"cvat is one \.zip file"):
        export_run(run, "cvat", tmp_path / "out.tar")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write to .*/file"):
        export_run(run, "voc", tmp_path / "file" / "inner")


def test_command(run_dir, tmp_path):
    out = tmp_path / "x.json"
    arguments = ["export", str(run_dir), "--to", "coco", "--out", str(out), "--classes", "dog, cat"]
    result = CliRunner().invoke(app, arguments)
    assert "3 photos, 5 classes, 5 masks" in result.output
    categories = json.loads(out.read_text())["categories"]
    assert [c["name"] for c in categories][:2] == ["dog", "cat"]
