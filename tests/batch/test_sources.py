"""Which photos an input names, and their bytes."""

import io
import os
import tarfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pnp_ovss.batch.sources import PhotoReader, PhotoRef, list_photos, stamp_of
from pnp_ovss.errors import ImageError, PnPError
from pnp_ovss.images import read_image
from pnp_ovss.photo_files import LeftOut

NOWHERE = Path("/nowhere")


def _bytes(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), (value, value, value)).save(buffer, "PNG")
    return buffer.getvalue()


def _ids(inputs, skip=NOWHERE) -> list[str]:
    return [ref.id for ref in list_photos([str(i) for i in inputs], skip)]


def _values(inputs) -> list[int]:
    read = PhotoReader()
    return [int(read_image(read(ref))[0, 0, 0]) for ref in list_photos([str(i) for i in inputs], NOWHERE)]


@pytest.fixture
def tree(tmp_path) -> Path:
    for name in ("b.png", "a.JPG", "sub/c.webp", "sub/.hidden.png", ".cache/d.png", "notes.txt", "out/labels/e.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.touch()
    return tmp_path


def _tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


# Files


def test_a_folder_in_the_order_of_names_without_hidden_files_and_the_output(tree):
    assert _ids([tree], tree / "out") == [str(tree / name) for name in ("a.JPG", "b.png", "sub/c.webp")]


def test_a_pattern(tree):
    assert _ids([tree / "**/*.png"], tree / "out") == [str(tree / "b.png")]


def test_a_file_is_taken_whatever_its_name(tree):
    assert _ids([tree / "notes.txt"]) == [str(tree / "notes.txt")]


@pytest.mark.parametrize("name", ["missing.jpg", "*.gif", "empty"])
def test_an_input_without_photos_is_an_error(tree, name):
    (tree / "empty").mkdir()
    why = "the folder holds none" if name == "empty" else "no file, folder or pattern"
    with pytest.raises(ImageError, match=f"names no photo: {why}"):
        _ids([tree / name])


def test_paths_are_absolute_whatever_the_working_folder(tree, monkeypatch):
    monkeypatch.chdir(tree)
    (ref,) = list_photos(["b.png"], NOWHERE)
    assert ref == PhotoRef("b.png", os.fsencode(tree / "b.png"), stamp=stamp_of(tree / "b.png"))


def test_a_name_that_is_no_text(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"\xff.png")
    with open(path, "wb") as file:
        file.write(_bytes(9))
    assert _ids([tmp_path]) == [f"{tmp_path}/\\xff.png"]
    assert _values([tmp_path]) == [9]


@pytest.mark.usefixtures("without_heif")
def test_what_does_not_count_is_counted_and_linked_folders_are_followed_once(tree):
    for name in ("._a.JPG", "__MACOSX/._a.JPG", "x.HEIC", "sub/y.heic"):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).touch()
    (tree / "elsewhere").mkdir()
    (tree / "elsewhere" / "z.png").touch()
    (tree / "sub" / "linked").symlink_to(tree / "elsewhere")
    (tree / "sub" / "loop").symlink_to(tree)
    left_out = LeftOut()
    found = [Path(ref.id).name for ref in list_photos([str(tree)], tree / "out", left_out)]
    assert sorted(found) == ["a.JPG", "b.png", "c.webp", "z.png"]
    assert "2 .heic" in left_out.sentence()
    assert left_out["hidden"] == 2


# Tars


def test_the_images_of_a_tar(tmp_path):
    tar = _tar(
        tmp_path / "0.tar", {"a.png": _bytes(1), "a.json": b"{}", "a.seg.png": _bytes(2), "sub/b.png": _bytes(3)}
    )
    assert _ids([tar]) == [f"{tar}/a.png", f"{tar}/a.seg.png", f"{tar}/sub/b.png"]
    assert _values([tar]) == [1, 2, 3]


@pytest.mark.usefixtures("without_heif")
def test_hidden_members_of_a_tar_are_left_out_and_counted(tmp_path):
    members = dict.fromkeys(("._a.jpg", "__MACOSX/._a.jpg", ".hidden/a.jpg", "b.HEIC"), b"x") | {"a.png": _bytes(1)}
    left_out = LeftOut()
    refs = list(list_photos([str(_tar(tmp_path / "0.tar", members))], NOWHERE, left_out))
    assert [Path(ref.id).name for ref in refs] == ["a.png"]
    assert left_out == {"hidden": 3, ".heic": 1}


def test_a_tar_that_was_packed_again_gives_no_photo(tmp_path):
    tar = _tar(tmp_path / "0.tar", {"a.png": _bytes(1), "b.png": _bytes(2)})
    refs, read = list(list_photos([str(tar)], NOWHERE)), PhotoReader()
    _tar(tar, {"b.png": _bytes(2), "a.png": _bytes(1)})
    os.utime(tar, ns=(1, 1))
    with pytest.raises(ImageError, match=r"0\.tar/a\.png: its file was \d+ bytes of .* and is \d+ bytes of 1970"):
        read(refs[0])


def test_members_of_one_name_have_different_ids(tmp_path):
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for value in (1, 2):
            info = tarfile.TarInfo("a.png")
            info.size = len(_bytes(value))
            tar.addfile(info, io.BytesIO(_bytes(value)))
    assert len(set(_ids([tmp_path]))) == 2
    assert _values([tmp_path]) == [1, 2]


def test_a_tar_that_breaks_off_gives_what_is_there_and_says_so(tmp_path):
    tar = _tar(tmp_path / "0.tar", {"a.png": _bytes(1), "b.png": _bytes(2)})
    tar.write_bytes(tar.read_bytes()[: 3 * 512 + 40])  # b's header and 40 of its bytes
    refs = list(list_photos([str(tar)], NOWHERE))
    assert [ref.kind for ref in refs] == ["tar", "tar", "broken"]
    with pytest.raises(ImageError, match="cut off"):
        PhotoReader()(refs[1])
    with pytest.raises(ImageError, match="no complete tar"):
        PhotoReader()(refs[2])


def test_a_member_too_large_to_read_is_refused():
    with pytest.raises(ImageError, match="limit in a tar is 1 GiB"):
        PhotoReader()(PhotoRef("x", b"x", "tar", 0, 1 << 40))


@settings(max_examples=60, deadline=None)
@given(
    edits=st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=9)), max_size=5), cut=st.integers(1)
)
def test_fuzzed_tars_give_refs_and_image_errors(tmp_path_factory, edits, cut):
    path = tmp_path_factory.getbasetemp() / "fuzz.tar"
    data = bytearray(_tar(path, {"a.png": _bytes(1), "b.png": _bytes(2)}).read_bytes())
    for place, new in edits:
        data[place : place + len(new)] = new
    path.write_bytes(bytes(data[: max(1, cut % len(data))]))
    with suppress(ImageError):  # a tar without photos
        for ref in list_photos([str(path)], NOWHERE):
            with suppress(ImageError):
                read_image(PhotoReader()(ref))


# Parquet


def _table(path: Path, column: str, values: list, rows: int = 4) -> Path:
    pq.write_table(pa.table({"label": list(range(len(values))), column: values}), path, row_group_size=rows)
    return path


def test_parquet_with_bytes(tmp_path):
    path = _table(tmp_path / "p.parquet", "image", [_bytes(i) for i in range(50)])
    assert _ids([path])[:2] == [f"{path}#0", f"{path}#1"]
    assert _values([path]) == list(range(50))


def test_parquet_with_hugging_face_images(tmp_path):
    path = _table(tmp_path / "p.parquet", "image", [{"bytes": _bytes(i), "path": f"{i}.png"} for i in range(3)])
    assert _values([path]) == [0, 1, 2]


def test_parquet_with_paths_relative_to_it(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.png").write_bytes(_bytes(5))
    path = _table(tmp_path / "p.parquet", "file_name", ["x/a.png", str(tmp_path / "x" / "a.png")])
    assert _values([path]) == [5, 5]


@pytest.mark.parametrize("cell", ["https://example.com/a.png", b"https://example.com/a.png"])
def test_an_address_in_a_table_is_told_what_to_do(tmp_path, cell):
    path = _table(tmp_path / "p.parquet", "path", [cell])
    [ref] = list_photos([str(path)], NOWHERE)
    with pytest.raises(ImageError, match=r"#0: https://example\.com/a\.png is an address; .* download the photo first"):
        PhotoReader()(ref)


def test_an_address_among_the_inputs_is_told_what_to_do():
    with pytest.raises(ImageError, match=r"'https://example\.com/a\.tar' names no photo: .* is an address"):
        list(list_photos(["https://example.com/a.tar"], NOWHERE))


def test_parquet_rows_in_any_order(tmp_path):
    path = _table(tmp_path / "p.parquet", "bytes", [_bytes(i) for i in range(60)], rows=25)
    refs, read = list(list_photos([str(path)], NOWHERE)), PhotoReader()
    order = np.random.default_rng(0).permutation(60).tolist()
    assert [int(read_image(read(refs[i]))[0, 0, 0]) for i in order] == order


def test_an_empty_cell_is_an_image_error(tmp_path):
    path = _table(tmp_path / "p.parquet", "bytes", [_bytes(1), None, b""])
    refs = list(list_photos([str(path)], NOWHERE))
    for ref in refs[1:]:
        with pytest.raises(ImageError, match="holds no image"):
            PhotoReader()(ref)


def test_parquet_without_images_is_one_broken_ref(tmp_path):
    path = _table(tmp_path / "p.parquet", "text", ["a"])
    (ref,) = list_photos([str(path)], NOWHERE)
    with pytest.raises(ImageError, match=r"no column with images .* it has label, text"):
        PhotoReader()(ref)


def test_a_damaged_parquet_file_becomes_one_broken_ref(tmp_path):
    path = _table(tmp_path / "p.parquet", "image", [_bytes(1)])
    path.write_bytes(path.read_bytes()[:-20])
    (ref,) = list_photos([str(path)], NOWHERE)
    with pytest.raises(ImageError, match="is no Parquet file"):
        PhotoReader()(ref)


def test_damage_inside_a_parquet_file_costs_rows_not_the_run(tmp_path):
    path = _table(tmp_path / "p.parquet", "image", [_bytes(i) for i in range(9)], rows=3)
    data = bytearray(path.read_bytes())
    data[40:60] = bytes(20)
    path.write_bytes(bytes(data))
    read, failed = PhotoReader(), 0
    for ref in list_photos([str(path)], NOWHERE):
        try:
            read_image(read(ref))
        except PnPError:
            failed += 1
    assert failed <= 3  # a row group
