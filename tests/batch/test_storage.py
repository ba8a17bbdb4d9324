"""Files are whole or absent."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pnp_ovss.batch.folder import BatchFolder
from pnp_ovss.batch.inventory import Inventory, write_inventory
from pnp_ovss.batch.journal import Journal
from pnp_ovss.batch.rows import failed_row
from pnp_ovss.batch.sources import PhotoRef
from pnp_ovss.errors import ImageError, OutputError
from pnp_ovss.files import locked, remove_temporaries, write_atomically


def _refs(count: int) -> list[PhotoRef]:
    return [PhotoRef(f"{i}.png", b"/photos/%d.png" % i) for i in range(count)]


def _folder(root: Path, photos: int, shard_size: int) -> BatchFolder:
    write_inventory(root / "inventory.parquet", _refs(photos), shard_size, unique=True)
    return BatchFolder(root)


def _full(*_):
    raise OSError(28, "No space left on device")


def test_write_atomically_leaves_the_old_file_when_the_disk_is_full(tmp_path, monkeypatch):
    write_atomically(tmp_path / "f", b"old")
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_atomically(tmp_path / "f", b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_writing_below_a_file_is_one_output_error(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "x", tmp_path / "file" / "deep" / "x"):
        with pytest.raises(OutputError, match=r"cannot write to .*file is a file, no folder; "):
            write_atomically(path, b"")


def test_temporaries_of_a_killed_run_are_removed(tmp_path):
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / ".tmp-1-part").touch()
    (tmp_path / "shards" / "part").touch()
    remove_temporaries(tmp_path)
    assert [path.name for path in (tmp_path / "shards").iterdir()] == ["part"]


def test_two_runs_cannot_share_a_folder(tmp_path):
    with locked(tmp_path / "l"), pytest.raises(OutputError, match="another run"), locked(tmp_path / "l"):
        pass
    with locked(tmp_path / "l"):
        pass


def test_the_first_row_of_a_number_counts(tmp_path):
    journal = Journal(tmp_path / "j")
    for row in ({"number": 1, "id": "a"}, {"number": 2, "id": "ü\n猫"}, {"number": 1, "id": "again"}):
        journal.append(row)
    assert journal.rows() == {1: {"number": 1, "id": "a"}, 2: {"number": 2, "id": "ü\n猫"}}


@settings(max_examples=100, deadline=None)
@given(cut=st.integers(0, 400), place=st.integers(0, 400), noise=st.binary(max_size=5))
def test_a_damaged_journal_loses_rows_and_never_alters_them(tmp_path_factory, cut, place, noise):
    path = tmp_path_factory.getbasetemp() / "fuzzed.log"
    path.unlink(missing_ok=True)
    rows = {i: {"number": i, "id": f"photo {i}"} for i in range(8)}
    for row in rows.values():
        Journal(path).append(row)
    data = path.read_bytes()
    path.write_bytes((data[:place] + noise + data[place + len(noise) :])[: len(data) - cut])
    left = Journal(path).rows()
    assert all(rows[number] == row for number, row in left.items())
    after = {"number": 99, "id": "written after the damage"}
    Journal(path).append(after)
    assert Journal(path).rows() == left | {99: after}


def test_the_inventory_gives_shards_with_numbers(tmp_path):
    inventory = _folder(tmp_path, 7, 3).inventory
    assert (inventory.photos, inventory.shards, inventory.shard_size) == (7, 3, 3)
    assert [number for shard in range(3) for number, _ in inventory.shard(shard)] == list(range(7))
    assert [ref for shard in range(3) for _, ref in inventory.shard(shard)] == _refs(7)
    assert inventory.numbers(2) == range(6, 7)


def test_repeated_photos_are_left_out(tmp_path):
    write_inventory(tmp_path / "i.parquet", [*_refs(3), *_refs(4)], 10, unique=False)
    assert Inventory(tmp_path / "i.parquet").photos == 4


def test_an_empty_inventory_is_an_error(tmp_path):
    with pytest.raises(ImageError, match="no photo"):
        write_inventory(tmp_path / "i.parquet", [], 10, unique=True)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_inventory_is_no_inventory(tmp_path):
    def refs():
        yield from _refs(25)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_inventory(tmp_path / "i.parquet", refs(), 10, unique=True)
    remove_temporaries(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_shard_is_written_with_its_last_row_and_sorted(tmp_path):
    folder = _folder(tmp_path, 5, 3)
    todo = folder.begin(0)
    for number, ref in reversed(todo):
        assert folder.missing() == [0, 1]
        folder.add(failed_row(number, ref, "image", "x"))
    assert folder.missing() == [1]
    assert not (tmp_path / "journal" / "part-000000.log").exists()
    import pyarrow.parquet as pq

    assert pq.read_table(folder.shard_path(0))["number"].to_pylist() == [0, 1, 2]


def test_what_the_journal_has_is_not_done_again(tmp_path):
    folder = _folder(tmp_path, 3, 3)
    todo = folder.begin(0)
    folder.add(failed_row(*todo[1], "image", "x"))
    again = BatchFolder(tmp_path)
    assert [number for number, _ in again.begin(0)] == [0, 2]


def test_a_complete_journal_becomes_a_shard_without_work(tmp_path, monkeypatch):
    folder = _folder(tmp_path, 2, 2)
    todo = folder.begin(0)
    folder.add(failed_row(*todo[0], "image", "x"))
    monkeypatch.setattr("pnp_ovss.batch.folder.write_atomically", _full)
    with pytest.raises(OSError, match="No space"):
        folder.add(failed_row(*todo[1], "image", "x"))
    monkeypatch.undo()
    again = BatchFolder(tmp_path)
    assert again.begin(0) == []
    assert again.missing() == []


def test_a_damaged_shard_counts_as_missing(tmp_path):
    folder = _folder(tmp_path, 1, 1)
    folder.add(failed_row(*folder.begin(0)[0], "image", "x"))
    path = folder.shard_path(0)
    path.write_bytes(path.read_bytes()[:-9])
    assert folder.missing() == [0]
