"""Files: one way to read text, whole or absent results, ids below their folder, which files are photos."""

import json
import os
import subprocess
import sys

import pytest

from pnp_ovss import files
from pnp_ovss.errors import ConfigError, DatasetError, OutputError
from pnp_ovss.files import (
    below,
    locked,
    read_json,
    read_lines,
    read_text,
    read_toml,
    remove_temporaries,
    write_atomically,
    write_json,
    writing,
)
from pnp_ovss.photo_files import LeftOut, find_photos, walk_photos, why_left_out


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text_of_any_editor_is_the_same_text(tmp_path, encoding, end):
    path = tmp_path / "a.txt"
    text = f"cät{end}dog\u2028x{end}"
    path.write_bytes(b"\xff\xfe" + text.encode("utf-16-le") if encoding == "utf-16-le-bom" else text.encode(encoding))
    assert read_text(path) == "cät\ndog\u2028x\n"
    assert read_lines(path) == ["cät", "dog\u2028x"]


def test_marked_json_and_toml_are_read(tmp_path):
    (tmp_path / "a.json").write_bytes('\ufeff{"a": ["cat"]}'.encode())
    (tmp_path / "a.toml").write_bytes('\ufeffa = "cat"\r\n'.encode())
    assert read_json(tmp_path / "a.json") == {"a": ["cat"]}
    assert read_toml(tmp_path / "a.toml") == {"a": "cat"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"caf\xe9", "is not UTF-8 text (line 1)"),
        (b"{", "is not JSON"),
        (b'{"a": 1, "a": 2}', "the key 'a' is given twice"),
        (b"[" * 200_000, "is not JSON"),
        (b"9" * 10_000, "is not JSON"),
        (b"\xff\xfea", "is not UTF-8 text"),
    ],
)
def test_no_json_is_one_line_of_the_callers_error(tmp_path, data, words):
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(DatasetError) as caught:
        read_json(path, "the list", error=DatasetError)
    assert words in str(caught.value)
    assert "the list" in str(caught.value)
    assert "a.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"a = ", b"a = " + b"[" * 100_000, b"a = 1\na = 2"])
def test_no_toml_is_one_line(tmp_path, data):
    (tmp_path / "a.toml").write_bytes(data)
    with pytest.raises(ConfigError, match=r"a\.toml is not valid TOML"):
        read_toml(tmp_path / "a.toml")


@pytest.mark.parametrize("name", ["nothing.txt", ".", "a\0b", "x" * 300])
def test_what_cannot_be_opened_is_one_line(tmp_path, name):
    with pytest.raises(ConfigError, match="cannot read the tags"):
        read_text(tmp_path / name, "the tags")


def test_writing_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    message = r"cannot write to .*file.*; make room or choose another place"
    with pytest.raises(OutputError, match=message), writing(tmp_path / "file"):
        (tmp_path / "file" / "x").write_text("y")


def test_an_atomic_write_is_whole_or_absent(tmp_path, monkeypatch):
    path = tmp_path / "deep" / ("n" * 250)
    write_atomically(path, b"old")
    write_json(path.parent / "b.json", {"name": "caf\udce9 猫"})
    assert path.read_bytes() == b"old"
    assert "猫" in (path.parent / "b.json").read_text("utf-8")
    assert read_json(path.parent / "b.json") == {"name": "caf\udce9 猫"}
    write_json(path.parent / "c.json", "猫", ascii_only=True)
    assert (path.parent / "c.json").read_bytes() == b'"\\u732b"\n'

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert sorted(p.name for p in path.parent.iterdir()) == ["b.json", "c.json", "n" * 250]


def test_half_written_files_are_removed(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".tmp-12-x").write_bytes(b"half")
    remove_temporaries(tmp_path)
    assert list((tmp_path / "a").iterdir()) == []


def test_a_lock_keeps_others_out_and_dies_with_its_process(tmp_path):
    lock = tmp_path / "run" / ".lock"
    code = (
        "import sys; from pathlib import Path; from pnp_ovss.files import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(OutputError, match=r"another run is writing to .*run"), locked(lock):
        pass
    holder.kill()
    holder.communicate()
    with locked(lock):
        pass
    with locked(lock):
        pass


@pytest.mark.parametrize("id", ["a", "a/0001", ".hidden", "a..b", "猫 #1", "x.y"])
def test_an_id_is_a_file_below_its_folder(tmp_path, id):
    path = below(tmp_path, id, ".png")
    path.write_bytes(b"x")
    assert path == tmp_path / f"{id}.png"


@pytest.mark.parametrize("id", ["../x", "a/../../x", "/etc/x", "", ".", "..", "a/..", "a\0b"])
def test_an_id_that_leads_out_is_refused(tmp_path, id):
    folder = tmp_path / "in"
    with pytest.raises(OutputError, match="names no file below"):
        below(folder, id)
    assert not folder.exists()


def test_a_link_does_not_lead_out_either(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").symlink_to(tmp_path)
    with pytest.raises(OutputError, match="through a link"):
        below(tmp_path / "in", "a/x", ".png")


@pytest.fixture
def photos(tmp_path, without_heif):
    names = "a.JPG b.jpeg c.Png d.txt e .hidden.jpg ._a.jpg deep/f.webp __MACOSX/g.jpg .git/h.jpg i.heic"
    for name in names.split():
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "photos" / "empty.jpg").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "j.gif").write_bytes(b"x")
    (tmp_path / "photos" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "loop").symlink_to(tmp_path / "photos")
    return tmp_path / "photos"


def test_which_files_are_photos(photos):
    found, left_out = find_photos(photos)
    assert [path.relative_to(photos).as_posix() for path in found] == [
        "a.JPG",
        "b.jpeg",
        "c.Png",
        "deep/f.webp",
        "linked/j.gif",
    ]
    assert left_out == {
        ".txt": 1,
        "without an ending": 1,
        "hidden": 2,
        "hidden folder": 2,
        ".heic": 1,
        "empty": 1,
        "linked folder that was listed already": 1,
    }
    assert "1 .heic" in left_out.sentence()
    assert "pip install '.[heic]'" in left_out.sentence()
    assert [path.name for path in find_photos(photos, deep=False)[0]] == ["a.JPG", "b.jpeg", "c.Png"]


def test_a_walk_takes_more_endings_and_skips_a_folder(photos):
    found = list(walk_photos(photos, LeftOut(), also=[".txt"], skip=photos / "deep"))
    assert [os.path.relpath(path, photos) for path in found if "linked" not in path] == [
        "a.JPG",
        "b.jpeg",
        "c.Png",
        "d.txt",
    ]


def test_names_that_are_no_utf_8_are_found(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    found, _ = find_photos(tmp_path)
    assert [os.fsencode(path.name) for path in found] == [b"caf\xe9.jpg"]
    write_json(tmp_path / "names.json", [path.name for path in found])
    assert os.fsencode(json.loads((tmp_path / "names.json").read_text())[0]) == b"caf\xe9.jpg"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a/b.tiff", ""),
        ("a/.b/c.jpg", "hidden"),
        ("__MACOSX/c.jpg", "hidden"),
        ("b.HEIC", ".heic"),
        ("b", "without an ending"),
    ],
)
def test_the_same_rule_for_members_of_archives(name, reason):
    assert why_left_out(name) == reason


def test_a_system_without_locks_is_told_of_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    files._say_no_locks.cache_clear()
    for _ in range(2):
        with files.locked(tmp_path / ".lock"):
            pass
    assert caplog.text.count("no file locks") == 1
