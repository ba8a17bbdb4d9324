"""Whole batches with workers that start in a blink: faults, limits and resume."""

import json
import os
import signal
from pathlib import Path

import pytest
from poison import (
    CLASSES,
    COLOURS,
    count_done,
    drive,
    job,
    make_photo,
    make_photos,
    make_poison,
    read_rows,
    run_here,
    wait_for_rows,
    wait_until_gone,
    without_times,
)

from pnp_ovss.batch.job import Job, Resources
from pnp_ovss.batch.pool import Pool, resident_gib
from pnp_ovss.batch.run import run_batch
from pnp_ovss.errors import ConfigError, ImageError, ModelError, OutputError
from pnp_ovss.images import read_image
from pnp_ovss.masks.rasterise import rasterise


def test_one_row_a_photo_with_its_labels(tmp_path):
    photos = make_photos(tmp_path / "in", 20)
    (photos / "empty.jpg").touch()
    (photos / "cut.png").write_bytes((photos / "0000.png").read_bytes()[:60])
    manifest = run_here([photos], tmp_path / "out", jobs=job(png=True))
    rows = read_rows(tmp_path / "out")
    assert [row["number"] for row in rows] == list(range(22))
    assert [row["id"] for row in rows] == sorted(str(path) for path in photos.iterdir())
    assert [row["cause"] for row in rows] == [None] * 20 + ["image", "image"]
    for row in rows[:20]:
        image = read_image(row["path"])
        assert (row["height"], row["width"]) == image.shape[:2]
        for entry in row["classes"]:
            expected = (image == COLOURS[entry["name"]]).all(axis=2)
            assert entry["share"] == expected.mean()
            assert entry["match_score"] == 0.25
            assert (entry["rle"] is None) == (not expected.any())
            if entry["rle"]:
                runs = {"size": [row["height"], row["width"]], "counts": entry["rle"]}
                assert (rasterise(runs, *expected.shape) == expected).all()
        assert read_image(tmp_path / "out" / row["png"]).shape == image.shape
    assert manifest["photos"] == 22
    assert (manifest["model"], manifest["runs"][-1]["outcome"]) == ("colours", "complete")
    assert not list((tmp_path / "out").rglob(".tmp-*"))


def test_poison_costs_a_row_each_and_nothing_else(tmp_path):
    photos = make_photos(tmp_path / "in", 12)
    make_poison(photos / "0003-kill.png", "kill")
    make_poison(photos / "0006-raise.png", "raise")
    manifest = run_here([photos], tmp_path / "out", workers=2)
    rows = read_rows(tmp_path / "out")
    assert [row["id"] for row in rows] == sorted(str(path) for path in photos.iterdir())
    failed = {Path(row["id"]).stem: (row["cause"], row["error"]) for row in rows if row["status"] == "failed"}
    assert failed == {
        "0003-kill": ("killed", "the worker died (signal 9, perhaps out of memory); set aside after 2 tries"),
        "0006-raise": ("error", "RuntimeError: device-side assert triggered; set aside after 2 tries"),
    }
    assert manifest["runs"][-1]["restarts"] == 4
    run_here([photos], tmp_path / "out", resume=True)
    assert len(read_rows(tmp_path / "out")) == 14


def test_photos_at_once_have_the_rows_of_single_ones_and_poison_is_found_among_them(tmp_path):
    photos = make_photos(tmp_path / "in", 11)
    make_poison(photos / "0003-kill.png", "kill")
    make_poison(photos / "0006-raise.png", "raise")
    (photos / "0007-empty.png").touch()
    alone = run_here([photos], tmp_path / "alone", jobs=job(kind="fake"))
    manifest = run_here([photos], tmp_path / "out", jobs=job(kind="fake"), at_once=4, shard_size=5)
    assert without_times(read_rows(tmp_path / "out")) == without_times(read_rows(tmp_path / "alone"))
    assert [row["cause"] for row in read_rows(tmp_path / "out")].count(None) == 11
    assert (alone["runs"][-1]["at_once"], manifest["runs"][-1]["at_once"]) == (1, 4)
    assert alone["runs"][-1]["restarts"] == 4
    assert manifest["runs"][-1]["restarts"] == 6  # two groups of photos, then two poisoned ones alone, twice each
    next((tmp_path / "out" / "shards").iterdir()).unlink()
    run_here([photos], tmp_path / "out", jobs=job(kind="fake"), at_once=2, resume=True)
    assert without_times(read_rows(tmp_path / "out")) == without_times(read_rows(tmp_path / "alone"))


def test_photos_at_once_may_take_as_long_as_all_of_them_alone(tmp_path):
    """They take half a second each, and none has a row before all are looked at."""
    manifest = run_here(
        [make_photos(tmp_path / "in", 4)], tmp_path / "out", jobs=job(kind="together"), at_once=4, time_s=1
    )
    assert manifest["runs"][-1]["restarts"] == 0
    assert [row["cause"] for row in read_rows(tmp_path / "out")] == [None] * 4


def test_a_photo_that_takes_too_long_or_too_much(tmp_path):
    make_poison(tmp_path / "in" / "hang.png", "hang")
    make_photo(tmp_path / "in" / "x.png", 0)
    run_here([tmp_path / "in"], tmp_path / "out", time_s=10, tries=1)  # 1,000 times what a photo takes
    make_poison(tmp_path / "in2" / "hog.png", "hog")
    run_here(
        [tmp_path / "in2"], tmp_path / "out2", time_s=600, memory_gib=0.9
    )  # torch with CUDA takes some 0.5 GiB by itself
    causes = [row["cause"] for row in read_rows(tmp_path / "out") + read_rows(tmp_path / "out2")]
    assert causes == ["timeout", None, "memory"]


def test_a_model_that_alone_takes_too_much_stops_the_run_and_costs_no_photo(tmp_path):
    photos = make_photos(tmp_path / "in", 3)
    with pytest.raises(ConfigError, match=r"the model alone takes 0\.\d GiB.*use fewer --workers"):
        run_here([photos], tmp_path / "out", memory_gib=0.01)
    run_here([photos], tmp_path / "out", resume=True)
    assert [row["status"] for row in read_rows(tmp_path / "out")] == ["ok"] * 3


def test_what_failed_is_tried_again_if_asked_and_the_rest_is_kept(tmp_path):
    photos, out = make_photos(tmp_path / "in", 12), tmp_path / "out"
    broken = sorted(photos.iterdir())[5]
    whole = broken.read_bytes()
    broken.write_bytes(b"the disk was away")
    run_here([photos], out)
    before = read_rows(out)
    assert [row["cause"] for row in before].count("image") == 1
    broken.write_bytes(whole)

    assert run_here([photos], out, resume=True)["runs"][-1]["photos"] == 0
    assert run_here([photos], out, resume=True, retry_failed=True)["runs"][-1]["photos"] == 1

    after = read_rows(out)
    assert [row["status"] for row in after] == ["ok"] * 12
    assert [row for row in after if row["number"] != 5] == [row for row in before if row["number"] != 5]
    assert run_here([photos], out, resume=True, retry_failed=True)["runs"][-1]["photos"] == 0


def test_no_photo_is_taken_before_a_worker_is_free_for_it(tmp_path):
    taken = 0

    def tasks():
        nonlocal taken
        for number in range(30):
            taken += 1
            yield number, _ref(make_photo(tmp_path / f"{number}.png", number))

    with Pool(job(), _batch_folder(tmp_path), Resources(workers=1)) as pool:
        for done, _ in enumerate(pool.run(tasks()), start=1):
            assert taken <= done + 2


def test_a_pool_can_be_used_again_after_its_reader_stopped(tmp_path):
    tasks = [(n, _ref(make_photo(tmp_path / f"{n}.png", n))) for n in range(6)]
    with Pool(job(), _batch_folder(tmp_path), Resources(workers=1)) as pool:
        rows = pool.run(tasks)
        next(rows)
        rows.close()
        assert sorted(row["number"] for row in pool.run(tasks)) == list(range(6))


def _ref(path: Path):
    from pnp_ovss.batch.sources import PhotoRef

    return PhotoRef(path.name, os.fsencode(path))


def _batch_folder(root: Path) -> Path:
    (root / "out").mkdir()
    return root / "out"


def test_resident_memory_is_measured():
    assert resident_gib(os.getpid()) > 0.01
    assert resident_gib(2**30) == 0.0


def test_workers_that_cannot_start_stop_the_run_with_one_line(tmp_path):
    photos = make_photos(tmp_path / "in", 3)
    with pytest.raises(ModelError, match="no worker can start: ModuleNotFoundError"):
        run_here([photos], tmp_path / "a", jobs=job(kind="missing"))
    with pytest.raises(ModelError, match=r"3 workers were lost before the model was loaded.*exit code 3"):
        run_here([photos], tmp_path / "b", jobs=job(kind="unready"))
    with pytest.raises(ConfigError, match="unknown setting 'dropz'"):
        run_here([photos], tmp_path / "c", jobs=Job(classes=CLASSES, settings={"dropz": 1}))
    assert json.loads((tmp_path / "c" / "manifest.json").read_text())["runs"][-1]["outcome"] == "stopped"


def test_resume_needs_the_same_job(tmp_path):
    photos = make_photos(tmp_path / "in", 2)
    run_here([photos], tmp_path / "out")
    with pytest.raises(ConfigError, match="--resume or choose another"):
        run_here([photos], tmp_path / "out")
    with pytest.raises(
        ConfigError, match=r'other settings: classes \[\["red"\], \["green"\], \["blue"\]\] -> \[\["red"\]\]'
    ):
        run_here([photos], tmp_path / "out", jobs=job(classes=(("red",),)), resume=True)
    make_photo(photos / "later.png", 9)
    assert run_here([photos], tmp_path / "out", resume=True)["photos"] == 2


def test_a_shard_whose_rows_were_all_there_tells_nothing_of_the_model(tmp_path, monkeypatch):
    """On Ray an actor that only finishes such a shard never loads one."""
    from pnp_ovss.batch import run as module

    facts = {"config_hash": "x", "weights": "y", "versions": {"torch": "2"}}
    outcomes = [({}, 0, 0), (facts, 3, 0)]
    monkeypatch.setattr(module, "_engine", lambda name, address: lambda *what: iter(outcomes))
    manifest = run_here([make_photos(tmp_path / "in", 3)], tmp_path / "out")
    assert (manifest["config_hash"], manifest["runs"][-1]["versions"]) == ("x", {"torch": "2"})
    assert manifest["runs"][-1]["outcome"] == "complete"


@pytest.mark.usefixtures("without_heif")
def test_what_is_no_photo_is_counted(tmp_path):
    photos = make_photos(tmp_path / "in", 2)
    (photos / "x.HEIC").touch()
    assert "1 .heic" in run_here([photos], tmp_path / "out")["left_out"]


def test_workers_are_as_many_as_cores_that_may_be_used(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert Resources.for_this_machine(time_s=1).workers == 1
    assert Resources.for_this_machine(workers=5).workers == 5


def test_nothing_to_do(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(ImageError, match="names no photo"):
        run_here([tmp_path / "in"], tmp_path / "out")
    with pytest.raises(ConfigError, match="unknown engine 'slurm'"):
        run_batch([str(make_photos(tmp_path / "x", 1))], tmp_path / "o", job(), Resources(), engine="slurm")
    with pytest.raises(ConfigError, match="shard size = 0"):
        run_here([tmp_path / "x"], tmp_path / "o2", shard_size=0)


NO_LIMIT = [{"memory_gib": 0.0}, {"time_s": float("nan")}, {"time_s": float("inf")}]


@pytest.mark.parametrize(
    "wrong", [{"workers": 0}, {"at_once": 0}, {"time_s": 0}, {"memory_gib": -1}, {"gpus_per_worker": 2}, *NO_LIMIT]
)
def test_resources_out_of_range(wrong):
    with pytest.raises(ConfigError):
        Resources(**wrong)


def test_workers_share_gpus():
    devices = [Resources(gpus_per_worker=0.5).device_of(i) for i in range(4)]
    assert devices == ["cuda:0", "cuda:0", "cuda:1", "cuda:1"]


def test_an_output_that_cannot_be_written(tmp_path):
    photos = make_photos(tmp_path / "in", 1)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write to"):
        run_here([photos], tmp_path / "file" / "out")


def test_a_full_disk_stops_with_one_line_and_can_be_resumed(tmp_path):
    photos = make_photos(tmp_path / "in", 90)
    driver = drive(tmp_path / "out", photos, file_bytes=9000)
    _, said = driver.communicate(timeout=600)
    assert driver.returncode == 2
    assert said.startswith("driver: cannot write to")
    assert "--resume" in said
    assert said.count("\n") == 1
    run_here([photos], tmp_path / "out", resume=True)
    run_here([photos], tmp_path / "whole", shard_size=40)
    assert without_times(read_rows(tmp_path / "out")) == without_times(read_rows(tmp_path / "whole"))


@pytest.mark.slow
def test_killed_and_interrupted_drivers_leave_no_process_and_lose_nothing(tmp_path):
    photos = make_photos(tmp_path / "in", 300)
    what = job(kind="slow")
    for stop, code in ((signal.SIGKILL, -9), (signal.SIGINT, 130)):
        before = count_done(tmp_path / "out")
        driver = drive(tmp_path / "out", photos, resume=True, job={"kind": "slow"})
        wait_for_rows(tmp_path / "out", before + 20)
        os.killpg(driver.pid, stop) if stop == signal.SIGINT else driver.kill()
        _, said = driver.communicate(timeout=600)
        assert driver.returncode == code
        assert "Traceback" not in said
        wait_until_gone(driver.pid)
    run_here([photos], tmp_path / "out", jobs=what, resume=True, shard_size=40)
    run_here([photos], tmp_path / "whole", jobs=what, shard_size=40, workers=2)
    assert without_times(read_rows(tmp_path / "out")) == without_times(read_rows(tmp_path / "whole"))
    outcomes = [run["outcome"] for run in json.loads((tmp_path / "out" / "manifest.json").read_text())["runs"]]
    assert outcomes == ["stopped", "complete"]  # the killed one could not say anything


def test_a_limit_that_the_system_cannot_keep_is_said(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("pnp_ovss.batch.pool.resident_gib", lambda pid: 0.0)
    Pool(job(), tmp_path, Resources(memory_gib=1.0))
    assert "the memory limit is not kept" in caplog.text
