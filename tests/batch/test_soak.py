"""Long runs: a poisoned corpus, workers and drivers killed at random, three resumes; then the invariants."""

import json
import os
import random
import signal
import struct
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from poison import count_done, drive, make_photo, make_poison, read_rows, wait_for_rows, wait_until_gone, without_times

from pnp_ovss.batch.pool import resident_gib
from pnp_ovss.batch.report import count_rows

pytestmark = pytest.mark.slow

LIMITS = {"time_s": 20, "memory_gib": 3.0}
EXPECTED = {"kill": "killed", "raise": "error", "empty": "image", "cut": "image", "bomb": "image"}


def _bomb(path: Path) -> None:
    """A PNG whose header promises 30000 x 30000 px."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    packed = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))


def _corpus(folder: Path, count: int) -> dict[str, str]:
    """`count` photos, 2 % of them poison; {id: expected cause}."""
    kinds = ["kill", "raise", "empty", "cut", "bomb"]
    causes = {}
    for i in range(count):
        path = folder / f"{i // 500:02}" / f"{i:05}.png"
        if i % 50 != 25:
            make_photo(path, i)
            continue
        kind = kinds[i // 50 % len(kinds)]
        path = path.with_name(f"{i:05}-{kind}.png")
        causes[str(path)] = EXPECTED[kind]
        if kind in ("kill", "raise"):
            make_poison(path, kind)
        elif kind == "bomb":
            _bomb(path)
        else:
            whole = make_photo(path, i).read_bytes()
            path.write_bytes(whole[: 0 if kind == "empty" else 60])
    return causes


def _workers(driver: int) -> list[int]:
    """The processes that the driver started, but for multiprocessing's resource tracker."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rsplit(")", 1)[1].split()[1]) != driver:
                continue
            if b"spawn_main" in (stat.parent / "cmdline").read_bytes():
                found.append(int(stat.parent.name))
        except (OSError, IndexError):
            continue
    return found


class _Killer(threading.Thread):
    """Kills a worker of the driver now and then, only after progress, so that no photo is hit twice by chance."""

    def __init__(self, driver: int, out: Path, every: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.driver, self.out, self.every, self.random = driver, out, every, random.Random(seed)
        self.ended, self.kills, self.peaks_gib = threading.Event(), 0, []

    def run(self) -> None:
        last = count_done(self.out)
        while not self.ended.wait(0.2):
            self.peaks_gib.append(resident_gib(self.driver))
            if count_done(self.out) - last < self.every:
                continue
            last = count_done(self.out)
            if workers := _workers(self.driver):
                os.kill(self.random.choice(workers), signal.SIGKILL)
                self.kills += 1


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds its workers in /proc")
@pytest.mark.parametrize(
    ("kind", "photos"),
    [("colours", int(os.environ.get("PNP_OVSS_SOAK", "5000"))), ("fake", 300)],
    ids=["5000-photos", "300-photos-through-the-method"],
)
def test_soak(tmp_path, kind, photos):
    causes = _corpus(tmp_path / "in", photos)
    given = {"job": {"kind": kind}, "resources": LIMITS}
    out, kills, peaks = tmp_path / "out", 0, []
    for run in range(4):
        driver = drive(out, tmp_path / "in", resume=True, **given)
        killer = _Killer(driver.pid, out, every=photos // 12, seed=run)
        killer.start()
        if run < 3:
            wait_for_rows(out, photos * (run + 1) // 5, timeout_s=1800)
            driver.kill()
        _, said = driver.communicate(timeout=3600)
        killer.ended.set()
        killer.join()
        kills, peaks = kills + killer.kills, killer.peaks_gib
        wait_until_gone(driver.pid)
        assert said == ""
    assert driver.returncode == 0
    assert kills >= 3

    rows = read_rows(out)
    assert [row["number"] for row in rows] == list(range(photos))
    assert [row["id"] for row in rows] == sorted(map(str, (tmp_path / "in").rglob("*.png")))
    assert {row["id"]: row["cause"] for row in rows if row["status"] == "failed"} == causes
    assert count_rows(out).is_complete
    assert max(peaks[len(peaks) // 2 :]) <= max(peaks[: len(peaks) // 2]) + 0.03  # GiB: the driver does not grow

    clean = drive(tmp_path / "clean", tmp_path / "in", **given)
    assert clean.wait(timeout=3600) == 0
    clean.stderr.close()
    assert without_times(rows) == without_times(read_rows(tmp_path / "clean"))


def test_a_photo_of_100_megapixels_and_one_30000_px_long(tmp_path):
    """Scaled, not tiled: scores are computed at `output_px` and the labels enlarged to every pixel of the photo."""
    (tmp_path / "in").mkdir()
    huge = np.zeros((10_000, 10_000, 3), np.uint8)
    huge[2000:6000, 3000:9000] = (255, 0, 0)
    Image.fromarray(huge).save(tmp_path / "in" / "huge.png", compress_level=1)
    Image.fromarray(huge[2500:2501].repeat(3, axis=1)).save(tmp_path / "in" / "line.png")
    Image.fromarray(huge[::10, ::10]).save(tmp_path / "in" / "small.png")
    start = time.monotonic()
    driver = drive(tmp_path / "out", tmp_path / "in", job={"kind": "fake"}, resources={"time_s": 900})
    _, said = driver.communicate(timeout=3600)
    assert (driver.returncode, said) == (0, "")
    huge_row, line_row, small_row = read_rows(tmp_path / "out")
    assert (huge_row["height"], huge_row["width"]) == (10_000, 10_000)
    assert huge_row["classes"][0]["share"] == pytest.approx(small_row["classes"][0]["share"], abs=0.01)
    assert small_row["classes"][0]["share"] > 0.1
    assert (line_row["height"], line_row["width"]) == (1, 30_000)
    print(json.dumps({"seconds": round(time.monotonic() - start, 1), "huge": huge_row["seconds"]}))
