"""A batch goes on with what it was begun with: files, weights and settings, whatever they are called."""

import json
import os
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from poison import make_photos, read_rows, run_here

from pnp_ovss.errors import ConfigError


def test_weights_and_settings_that_changed_behind_the_jobs_back_are_named(tmp_path):
    photos, out = make_photos(tmp_path / "in", 2), tmp_path / "out"
    run_here([photos], out)
    next((out / "shards").iterdir()).unlink()
    manifest = json.loads((out / "manifest.json").read_text())
    for change, said in (
        ({"weights": "f" * 12}, 'weights "ffffffffffff" -> "000000000000"'),
        ({"config": manifest["config"] | {"threshold": 0.25}}, r"config\.threshold 0\.25 -> "),
    ):
        (out / "manifest.json").write_text(json.dumps(manifest | change))
        with pytest.raises(ConfigError, match=said):
            run_here([photos], out, resume=True)
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert run_here([photos], out, resume=True)["runs"][-1]["outcome"] == "complete"


def _touched(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    os.utime(path, ns=(0, 0))


@pytest.mark.parametrize("done", [True, False])
def test_a_photo_that_was_replaced_is_noticed(tmp_path, done):
    photos, out = make_photos(tmp_path / "in", 3), tmp_path / "out"
    run_here([photos], out)
    if not done:
        next((out / "shards").iterdir()).unlink()
    _touched(photos / "0001.png", (photos / "0002.png").read_bytes())
    said = r"0001\.png was \d+ bytes of 20.* and is \d+ bytes of 1970-01-01.*move them away"
    with pytest.raises(ConfigError, match=said):
        run_here([photos], out, resume=True)
    (photos / "0001.png").unlink()  # as the line says: nothing that is done is lost
    run_here([photos], out, resume=True)
    assert [row["status"] for row in read_rows(out)] == ["ok", "ok" if done else "failed", "ok"]


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_tar_or_table_that_was_packed_again_is_noticed(tmp_path, kind):
    """Between a kill and --resume: rows would have another photo's labels."""
    photos, out = make_photos(tmp_path / "in", 12), tmp_path / "out"
    _pack(tmp_path / f"x.{kind}", sorted(photos.iterdir()))
    run_here([tmp_path / f"x.{kind}"], out)
    next((out / "shards").iterdir()).unlink()
    _pack(tmp_path / f"x.{kind}", sorted(photos.iterdir(), reverse=True))
    with pytest.raises(ConfigError, match=rf"x\.{kind} was \d+ bytes of .*: other files than the batch was begun with"):
        run_here([tmp_path / f"x.{kind}"], out, resume=True)


def test_a_photo_that_a_table_names_is_noticed_when_it_was_replaced(tmp_path):
    photos, out = make_photos(tmp_path / "in", 3), tmp_path / "out"
    table = tmp_path / "x.parquet"
    pq.write_table(pa.table({"path": [f"in\\{photo.name}" for photo in sorted(photos.iterdir())]}), table)
    run_here([table], out)
    assert run_here([table], out, resume=True)["runs"][-1]["outcome"] == "complete"
    _touched(photos / "0001.png", (photos / "0002.png").read_bytes())
    with pytest.raises(ConfigError, match=r"in/0001\.png was \d+ bytes of 20.* and is \d+ bytes of 1970-01-01"):
        run_here([table], out, resume=True)


def _pack(path: Path, photos: list[Path]) -> None:
    if path.suffix == ".tar":
        with tarfile.open(path, "w") as tar:
            for photo in photos:
                tar.add(photo, photo.name)
    else:
        pq.write_table(pa.table({"image": [photo.read_bytes() for photo in photos]}), path)
