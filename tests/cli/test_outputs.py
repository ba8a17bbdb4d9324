"""What commands write: never over what they read or what others made, and what is exported is what the last run made."""

import json
import os
import shutil

import pytest
from PIL import Image

from tests.scenes import two_squares


@pytest.fixture
def bad(tmp_path):
    path = tmp_path / "second" / "scene.png"
    path.parent.mkdir()
    path.write_bytes(b"damaged")
    return path


def exported(run, folder):
    code, out, _ = run("export", folder, "--to", "coco", "--out", folder.parent / "x.json")
    assert code == 0
    return json.loads((folder.parent / "x.json").read_text("utf-8")), out


def test_a_photo_that_failed_is_not_exported_with_its_old_labels(run, photo, bad, tmp_path):
    cup = tmp_path / "second" / "cup.png"
    Image.fromarray(two_squares()[::-1].copy()).save(cup)
    assert run("segment", photo, "-c", "red", "--out", tmp_path / "run")[0] == 0
    assert run("segment", bad, cup, "-c", "blue", "--out", tmp_path / "run")[0] == 1

    data, said = exported(run, tmp_path / "run")

    assert [image["file_name"] for image in data["images"]] == ["cup.png"]
    assert [category["name"] for category in data["categories"]] == ["blue"]
    assert "1 photos of the run failed" in said


def test_a_run_of_which_all_failed_is_no_earlier_run(run, photo, bad, tmp_path):
    assert run("segment", photo, "-c", "red", "--out", tmp_path / "run")[0] == 0
    assert run("segment", bad, "-c", "red", "--out", tmp_path / "run")[0] == 2
    code, _, err = run("export", tmp_path / "run", "--to", "coco", "--out", tmp_path / "x.json")
    assert code == 2
    assert "all photos of the last run into it failed" in err


def test_labels_that_were_corrected_by_hand_stay(run, photo, tmp_path):
    out = tmp_path / "run"
    assert run("segment", photo, "-c", "red", "--out", out)[0] == 0
    assert run("segment", photo, "-c", "red", "--out", out)[0] == 0, "what a run made, a run may replace"
    corrected = Image.new("P", (150, 100))
    corrected.save(out / "scene.labels.png")
    before = (out / "scene.labels.png").read_bytes()

    code, _, err = run("segment", photo, "-c", "red", "--out", out)

    assert code == 2
    assert "scene.labels.png is there and was changed since it was made; choose another --out" in err
    assert (out / "scene.labels.png").read_bytes() == before


def test_a_killed_run_can_be_repeated(run, photo, tmp_path):
    """Files that it had written and not yet noted are its own."""
    out = tmp_path / "run"
    assert run("segment", photo, "-c", "red", "--out", out)[0] == 0
    listed = out / ".pnp-ovss-made.jsonl"
    header, _entry, end = listed.read_bytes().split(b"\n")
    assert end == b""
    listed.write_bytes(header + b'\n{"files": {"scene.lab')
    (out / "scene.json").write_bytes(b"{")
    assert run("segment", photo, "-c", "red", "--out", out)[0] == 0


def test_a_photo_is_never_written_over(run, photo, tmp_path):
    shutil.copy(photo, tmp_path / "scene.labels.png")
    before = (tmp_path / "scene.labels.png").read_bytes()
    code, _, err = run("segment", photo, tmp_path / "scene.labels.png", "-c", "red", "--out", tmp_path)
    assert code == 2
    assert "scene.labels.png is a photo that is read and would be replaced" in err
    assert (tmp_path / "scene.labels.png").read_bytes() == before


@pytest.mark.parametrize("out", ["truth", "other/../truth", "link"])
def test_a_gallery_never_writes_over_its_ground_truth(run, photo, tmp_path, out):
    truth = tmp_path / "truth"
    truth.mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(truth)
    Image.new("L", (150, 100)).save(truth / "scene.labels.png")
    before = (truth / "scene.labels.png").read_bytes()
    code, _, err = run("gallery", photo, "-c", "red", "--ground-truth", truth, "--out", tmp_path / out)
    assert code == 2
    assert "is the folder of the ground truth" in err
    assert (truth / "scene.labels.png").read_bytes() == before


def test_a_gallery_can_be_made_again_and_exported(run, photo, tmp_path):
    for _ in range(2):
        assert run("gallery", photo, "-c", "red", "--grey", "--out", tmp_path / "g")[0] == 0
    data, _ = exported(run, tmp_path / "g")
    assert [image["file_name"] for image in data["images"]] == ["scene.png"]


def test_a_gallery_of_a_name_that_is_no_utf_8(run, photo, tmp_path):
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 #1.png")
    shutil.copy(photo, odd)
    assert run("gallery", odd, "-c", "red", "--out", tmp_path / "g")[0] == 0
    page = (tmp_path / "g" / "gallery.html").read_text("utf-8")
    assert 'href="caf%E9%20%231.overlay.png"' in page
    assert os.path.isfile(os.fsencode(tmp_path) + b"/g/caf\xe9 #1.overlay.png")


def test_a_photo_named_twice_is_taken_once(run, photo, tmp_path):
    assert run("segment", photo, photo, "-c", "red", "--out", tmp_path / "run")[0] == 0
    assert len(list((tmp_path / "run").glob("*.labels.png"))) == 1


def test_a_name_of_246_letters_stops_nothing(run, photo, tmp_path):
    long = tmp_path / ("n" * 246 + ".png")
    shutil.copy(photo, long)
    assert run("segment", long, photo, "-c", "red", "--out", tmp_path / "run")[0] == 0
    data, _ = exported(run, tmp_path / "run")
    assert {image["file_name"] for image in data["images"]} == {long.name, photo.name}
