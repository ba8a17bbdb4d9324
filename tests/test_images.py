"""What is no photo, or too large, or damaged, is one ImageError and never a crash."""

import io
import os
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from pnp_ovss import images
from pnp_ovss.errors import ImageError
from pnp_ovss.images import read_image
from pnp_ovss.photo_files import find_photos
from tests.photos import PHOTO, SMOOTH, H, W, image_file, png_file, refusal

# What is no photo


def test_missing_file(tmp_path):
    refusal(tmp_path / "no.jpg", str(tmp_path / "no.jpg"), "does not exist")


def test_empty_file_and_empty_bytes(tmp_path):
    (tmp_path / "empty.jpg").touch()
    refusal(tmp_path / "empty.jpg", "empty.jpg", "0 bytes")
    refusal(b"", "0 bytes")


def test_folder(tmp_path):
    refusal(tmp_path, "is a folder")


def test_names_that_no_file_can_have():
    refusal("a\0b")
    refusal("x" * 5000)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(image_file(PHOTO, "PNG"))
    path.chmod(0)
    refusal(path, "secret.png")


def test_a_file_that_goes_between_the_look_and_the_reading(tmp_path, monkeypatch):
    """It is not damaged; nor is one that may not be read."""
    monkeypatch.setattr(images, "check_file", lambda path: None)
    refusal(tmp_path / "gone.png", "gone.png cannot be opened: No such file")


@pytest.mark.parametrize("data", [b"\0", b"hello, world", b"\xff\xd8", b"%PDF-1.4", b"<svg/>", bytes(5000)])
def test_bytes_that_are_no_image(tmp_path, data):
    path = tmp_path / "no.jpg"
    path.write_bytes(data)
    refusal(path, "no.jpg", "not an image")
    refusal(data, "not an image")


def test_postscript_starts_no_other_program():
    refusal(image_file(PHOTO, "EPS"), "not an image")


@pytest.mark.parametrize("source", [None, 5, [1, 2], object()])
def test_other_types(source):
    refusal(source, type(source).__name__)


# Damage


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.05, 0.3, 0.7])
def test_truncated_files(tmp_path, format, share):
    data = image_file(PHOTO, format)
    path = tmp_path / "cut"
    path.write_bytes(data[: max(1, int(len(data) * share))])
    refusal(path, str(path))


def test_truncated_picture_that_was_opened_by_the_caller():
    data = image_file(PHOTO, "JPEG")
    refusal(Image.open(io.BytesIO(data[: len(data) // 2])), "cannot be decoded")


def test_damaged_exif_is_no_reason_to_refuse_a_photo_or_to_warn():
    data = image_file(SMOOTH, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08" + b"\xff" * 40)
    assert read_image(data).shape == (H, W, 3)


def test_unknown_rotation_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 9
    assert (read_image(image_file(PHOTO, "PNG", exif=exif)) == PHOTO).all()


CORPUS = [
    image_file(PHOTO, format, **options)
    for format, options in [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {}),
        ("PPM", {}),
        ("TGA", {}),
        ("PCX", {}),
    ]
]


@settings(max_examples=300, deadline=None)
@given(
    seed=st.sampled_from(CORPUS),
    edits=st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(max_size=6), st.integers(0, 40)), max_size=6),
    length=st.integers(1, 1 << 16),
)
@example(seed=CORPUS[0], edits=[], length=10)
def test_fuzzed_files_give_an_image_or_an_image_error(seed, edits, length):
    """Bytes overwritten, inserted and cut out of real files: never another exception, never a warning."""
    data = bytearray(seed)
    for place, new, cut in edits:
        at = place % (len(data) + 1)
        data[at : at + cut] = new
    with suppress(ImageError):
        image = read_image(bytes(data[:length]) or b"\0")
        assert (image.dtype, image.ndim, image.shape[2]) == (np.uint8, 3, 3)


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=1, max_size=200), st.sampled_from([data[:16] for data in CORPUS] + [b""]))
def test_noise_after_a_real_header(noise, header):
    with suppress(ImageError):
        read_image(header + noise)


# Size


def test_one_pixel():
    assert read_image(image_file(PHOTO[:1, :1], "PNG")).tolist() == [[PHOTO[0, 0].tolist()]]


def test_a_line_30000_px_long(tmp_path):
    line = np.resize(PHOTO, (30_000, 1, 3))
    path = tmp_path / "line.png"
    path.write_bytes(image_file(line, "PNG"))
    assert (read_image(path) == line).all()


def test_a_header_of_900_megapixels_is_refused_before_decoding(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_file(30_000, 30_000, b"\0" * 100))
    refusal(path, "bomb.png", "100 megapixels")


def test_a_header_just_over_the_limit_is_refused_with_its_size():
    refusal(png_file(20_000, 5_001, b"\0"), "20000 x 5001", "100 megapixels")


def test_an_array_over_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", H * W - 1)
    refusal(PHOTO, f"{W} x {H}")


def test_a_picture_without_pixels():
    refusal(Image.new("RGB", (0, 4)), "0 x 4")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "https://example.com/cat.jpg",
            "https://example.com/cat.jpg is an address; addresses are not read here: download",
        ),
        (Path("https://example.com/cat.jpg"), "https://example.com/cat.jpg is an address"),
        ("s3://bucket/cat.jpg", "s3://bucket/cat.jpg is an address"),
        ("file:///tmp/none/cat.jpg", "give the path itself, /tmp/none/cat.jpg"),
        ("~/none/cat.jpg", "'~' stands for the home folder in a shell only"),
        ("C:/none/cat.jpg", "C:/none/cat.jpg does not exist"),
    ],
)
def test_a_path_that_is_none_says_what_to_do(source, words):
    with pytest.raises(ImageError) as caught:
        read_image(source)
    assert words in str(caught.value)


def test_heic_is_read_with_pillow_heif_and_else_told_how(tmp_path, monkeypatch):
    heif = pytest.importorskip("pillow_heif")
    pixels = np.full((64, 48, 3), (200, 40, 90), dtype=np.uint8)
    path = tmp_path / "IMG_0001.HEIC"
    heif.from_pillow(Image.fromarray(pixels)).save(path, quality=95)
    images._readable.cache_clear()
    assert np.abs(read_image(path).astype(int) - pixels).max() <= 8
    assert [found.name for found in find_photos(tmp_path)[0]] == ["IMG_0001.HEIC"]
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF")
    images._readable.cache_clear()
    with pytest.raises(ImageError, match=r"IMG_0001\.HEIC is not an image .*pip install '.\[heic\]', or convert it"):
        read_image(path)
    assert find_photos(tmp_path)[1] == {".heic": 1}
    images._readable.cache_clear()
