"""What commands write: never over what they read or what others made, and what is exported is what the last run made."""

import json
import os
import shutil

import numpy as np
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
    assert "left out: 1 photo of the run, failed or not done" in said


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


@pytest.fixture
def data(tmp_path):
    """A folder data set of two photos."""
    root = tmp_path / "data"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for name in ("a", "b"):
        Image.fromarray(two_squares()).save(root / "images" / f"{name}.jpg")
        Image.fromarray((two_squares()[..., 0] > 200).astype(np.uint8)).save(root / "masks" / f"{name}.png")
    (root / "classes.txt").write_text("red thing\n")
    (root / "dataset.toml").write_text('images="images"\nmasks="masks"\nclasses="classes.txt"\nbackground=0\n')
    return root


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_labels_are_not_saved_among_the_pictures_of_the_data_set(run, data, folder, tmp_path):
    before = contents(data)
    words = ("evaluate", "folder", data, "--refine", "none", "--out", tmp_path / "r.json")
    code, _, err = run(*words, "--save-labels", data / folder)
    assert code == 2
    assert "holds pictures of the data set" in err
    assert contents(data) == before


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "folder", "{data}", "--out", "{other}.json"),
        ("ablate", "folder", "{data}", "--out", "{other}.json"),
        ("evaluate", "folder", "{data}", "--out", "{page}.json"),
        ("tune", "{data}/images", "--tags", "{other}.json", "--out", "{other}.json"),
        ("tune", "{data}/images", "--tags", "{other}.json", "--out", "{picture}.toml"),
        ("datasets", "check", "folder", "{data}", "--sheet", "{data}/images/a.jpg"),
        ("datasets", "check", "folder", "{data}", "--sheet", "{data}/masks/a.png"),
        ("export", "{run}", "--to", "coco", "--out", "{other}.json"),
        ("export", "{run}", "--to", "coco", "--out", "{run}/scene.json"),
        ("export", "{run}", "--to", "label-studio", "--out", "{other}.json"),
        ("export", "{run}", "--to", "cvat", "--out", "{other}.zip"),
        ("batch-report", "{batch}", "--out", "{data}/images/a.jpg"),
        ("batch-report", "{batch}", "--out", "{batch}/manifest.json"),
        ("batch", "{data}/images", "-c", "red", "--out", "{data}/images"),
    ],
    ids=lambda words: " ".join((words[0], words[-1])),
)
def test_one_file_is_written_over_its_own_kind_only(run, photo, data, tmp_path, words):
    other = tmp_path / "o" / "other"
    other.parent.mkdir()
    other.with_suffix(".json").write_text('{"a.jpg": ["red thing"]}')
    other.with_suffix(".zip").write_bytes(b"PK of somebody else")
    (tmp_path / "o" / "page.md").write_text("# by hand")
    shutil.copy(photo, tmp_path / "o" / "picture.png")
    assert run("segment", photo, "-c", "red", "--out", tmp_path / "run")[0] == 0
    (tmp_path / "batch").mkdir()
    (tmp_path / "batch" / "manifest.json").write_text("{}")
    places = {"data": data, "other": other, "page": tmp_path / "o/page", "picture": tmp_path / "o/picture"}
    before = contents(tmp_path)
    code, out, err = run(*(word.format(**places, run=tmp_path / "run", batch=tmp_path / "batch") for word in words))
    assert code == 2
    assert "choose another --out" in err
    assert "Traceback" not in out + err
    assert contents(tmp_path) == before


def test_a_report_and_an_export_can_be_made_again(run, photo, data, tmp_path):
    words = ("evaluate", "folder", data, "--refine", "none", "--examples", "0", "--out", tmp_path / "r.json")
    assert run(*words)[0] == 0
    assert run(*words, "--resume")[0] == 0
    assert run("segment", photo, "-c", "red, blue", "--out", tmp_path / "run")[0] == 0
    for format, name in (("coco", "c.json"), ("label-studio", "l.json"), ("cvat", "v.zip")):
        for _ in range(2):
            assert run("export", tmp_path / "run", "--to", format, "--out", tmp_path / name)[0] == 0


def test_same_named_photos_of_two_folders_never_overwrite_each_other(run, tmp_path):
    """Neither in one run nor in later ones; the same photo again replaces its own result."""
    for folder, grey in (("a", 10), ("b", 200)):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (48, 32), (grey, grey, grey)).save(tmp_path / folder / "cat.png")
    first, second = tmp_path / "a/cat.png", tmp_path / "b/cat.png"
    for photos in ([first], [second], [first], [second], [second, first]):
        assert run("segment", *photos, "-c", "red", "--out", tmp_path / "out")[0] == 0
        assert not (tmp_path / "out/cat-3.json").exists()
        made = [line for line in (tmp_path / "out/.pnp-ovss-made.jsonl").read_text().splitlines() if '"photo"' in line]
        owners = {json.loads(line)["photo"]: sorted(json.loads(line)["files"])[0] for line in made}
        assert owners.get(str(first), "cat.json") == "cat.json"
        assert owners.get(str(second), "cat-2.json") == "cat-2.json"
    assert (tmp_path / "out/cat.json").exists()
    assert (tmp_path / "out/cat-2.json").exists()


def test_same_named_photos_of_one_run_have_a_result_each(run, tmp_path):
    for place in ("a/cat.png", "b/cat.png", "c/CAT.png"):
        (tmp_path / place).parent.mkdir()
        Image.new("RGB", (48, 32)).save(tmp_path / place)
    photos = [tmp_path / place for place in ("a/cat.png", "b/cat.png", "c/CAT.png")]
    assert run("segment", *photos, "-c", "red", "--out", tmp_path / "out")[0] == 0
    assert {path.stem for path in (tmp_path / "out").glob("*.json")} == {"cat", "cat-2", "CAT-3"}


def test_a_gallery_minds_whose_results_are_there_and_is_minded(run, tmp_path):
    for place in ("a/cat.png", "b/cat.png", "b/dog.png"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        Image.new("RGB", (48, 32)).save(tmp_path / place)
    out = ("-c", "red", "--out", tmp_path / "out")
    assert run("segment", tmp_path / "a/cat.png", *out)[0] == 0
    assert run("gallery", tmp_path / "b/dog.png", "--grey", *out)[0] == 0
    assert run("segment", tmp_path / "b/cat.png", *out)[0] == 0
    assert {path.stem for path in (tmp_path / "out").glob("*.json")} == {"cat", "dog", "dog-grey", "cat-2"}
    first = (tmp_path / "out/cat.json").read_bytes()
    assert run("gallery", tmp_path / "b/cat.png", tmp_path / "b/dog.png", "--grey", *out)[0] == 0
    assert (tmp_path / "out/cat.json").read_bytes() == first
    names = {"cat", "cat-2", "cat-grey", "dog", "dog-grey"}
    assert {path.stem for path in (tmp_path / "out").glob("*.json")} == names


def test_a_name_of_dots_leads_nowhere_else(run, tmp_path):
    photo = tmp_path / "..png"
    Image.new("RGB", (48, 32)).save(photo, "png")
    assert run("segment", photo, "-c", "red", "--out", tmp_path / "out")[0] == 0
    assert run("explain", photo, "-c", "red", "--out", tmp_path / "drawn")[0] == 0
    assert (tmp_path / "out/image.labels.png").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"..png", "out", "drawn"}
