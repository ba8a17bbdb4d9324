"""The commands of a batch, and what its report says of whole, unfinished and damaged ones."""

import json

import pytest
from poison import (
    make_photos,
    run_here,
)

from pnp_ovss.batch.report import count_rows
from pnp_ovss.cli.batch import batch, batch_report
from pnp_ovss.errors import ConfigError, OutputError
from pnp_ovss.testing.fake_vlm import FAKE_PRESET


def test_the_commands(tmp_path, capsys):
    photos = make_photos(tmp_path / "in", 5)
    (photos / "<b>.png").touch()
    (tmp_path / "classes.txt").write_text("red\ngreen\nblue\n")
    code = batch(
        [str(photos)], tmp_path / "out", classes_file=tmp_path / "classes.txt", model=str(FAKE_PRESET), workers=1,
        as_json=True,
    )  # fmt: skip
    summary = json.loads(capsys.readouterr().out)
    assert code == 1
    assert (summary["photos"], summary["ok"], summary["failed"], summary["complete"]) == (6, 5, 1, True)
    assert batch_report(tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "6 photos: 5 ok, 1 failed; complete" in said
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<figure>") == 5
    assert "&lt;b&gt;.png" in page
    assert "<b>.png" not in page
    assert batch_report(tmp_path / "out") == 0  # in place of the one before it
    (tmp_path / "mine.html").write_text("<title>Batch out</title>")
    with pytest.raises(OutputError, match=r"mine\.html is there and is no contact sheet"):
        batch_report(tmp_path / "out", tmp_path / "mine.html")


def test_the_report_of_photos_that_are_gone_and_of_a_batch_that_is_not_finished(tmp_path):
    photos = make_photos(tmp_path / "in", 4)
    run_here([photos], tmp_path / "out", shard_size=2)
    for path in photos.iterdir():
        path.unlink()
    (tmp_path / "out" / "shards" / "part-000001.parquet").unlink()
    assert batch_report(tmp_path / "out", tmp_path / "page.html") == 1
    assert (tmp_path / "page.html").read_text().count("the photo is gone") == 2
    counts = count_rows(tmp_path / "out")
    assert (counts.ok, counts.missing_shards, counts.is_complete) == (2, 1, False)


def test_the_report_notices_rows_out_of_place(tmp_path):
    photos = make_photos(tmp_path / "in", 4)
    run_here([photos], tmp_path / "out", shard_size=2)
    shards = sorted((tmp_path / "out" / "shards").iterdir())
    shards[1].write_bytes(shards[0].read_bytes())
    counts = count_rows(tmp_path / "out")
    assert (counts.wrong, counts.is_complete) == (2, False)


def test_the_report_of_a_folder_that_is_no_batch(tmp_path):
    with pytest.raises(ConfigError, match="holds no batch"):
        batch_report(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "other"}')
    with pytest.raises(ConfigError, match="not the manifest of a batch"):
        batch_report(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ConfigError, match="is not JSON"):
        batch_report(tmp_path)
