"""Any file to upright RGB, or one ImageError: formats, depths, rotations, damage, bombs and arrays."""

import io
import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from pnp_ovss import images
from pnp_ovss.errors import ConfigError, ImageError
from pnp_ovss.images import input_size, load_image, normalise_pixels, punch_holes, to_pixels

H, W = 24, 36
PHOTO = np.random.default_rng(0).integers(0, 256, (H, W, 3), dtype=np.uint8)
SMOOTH = np.stack(np.broadcast_arrays(np.arange(W) * 7, np.arange(H)[:, None] * 10, 90), axis=-1).astype(np.uint8)
GREY = PHOTO[..., 0]


def _file(pixels: np.ndarray, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


def _png(width: int, height: int, rows: bytes, *, bits: int = 8, colour: int = 2) -> bytes:
    """A PNG written by hand: Pillow writes no 16-bit RGB, and no headers that lie."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _fails(source, *said: str) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(source)
    message = str(caught.value)
    assert "\n" not in message
    for text in said:
        assert text in message
    return message


# What is no photo


def test_missing_file(tmp_path):
    _fails(tmp_path / "no.jpg", str(tmp_path / "no.jpg"), "does not exist")


def test_empty_file_and_empty_bytes(tmp_path):
    (tmp_path / "empty.jpg").touch()
    _fails(tmp_path / "empty.jpg", "empty.jpg", "0 bytes")
    _fails(b"", "0 bytes")


def test_folder(tmp_path):
    _fails(tmp_path, "is a folder")


def test_names_that_no_file_can_have():
    _fails("a\0b")
    _fails("x" * 5000)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(_file(PHOTO, "PNG"))
    path.chmod(0)
    _fails(path, "secret.png")


@pytest.mark.parametrize("data", [b"\0", b"hello, world", b"\xff\xd8", b"%PDF-1.4", b"<svg/>", bytes(5000)])
def test_bytes_that_are_no_image(tmp_path, data):
    path = tmp_path / "no.jpg"
    path.write_bytes(data)
    _fails(path, "no.jpg", "not an image")
    _fails(data, "not an image")


def test_postscript_starts_no_other_program():
    _fails(_file(PHOTO, "EPS"), "not an image")


@pytest.mark.parametrize("source", [None, 5, [1, 2], object()])
def test_other_types(source):
    _fails(source, type(source).__name__)


# Damage


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.05, 0.3, 0.7])
def test_truncated_files(tmp_path, format, share):
    data = _file(PHOTO, format)
    path = tmp_path / "cut"
    path.write_bytes(data[: max(1, int(len(data) * share))])
    _fails(path, str(path))


def test_truncated_picture_that_was_opened_by_the_caller():
    data = _file(PHOTO, "JPEG")
    _fails(Image.open(io.BytesIO(data[: len(data) // 2])), "cannot be decoded")


def test_damaged_exif_is_no_reason_to_refuse_a_photo_or_to_warn():
    data = _file(SMOOTH, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08" + b"\xff" * 40)
    assert load_image(data).shape == (H, W, 3)


def test_unknown_rotation_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 9
    assert (load_image(_file(PHOTO, "PNG", exif=exif)) == PHOTO).all()


CORPUS = [
    _file(PHOTO, format, **options)
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
        image = load_image(bytes(data[:length]) or b"\0")
        assert (image.dtype, image.ndim, image.shape[2]) == (np.uint8, 3, 3)


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=1, max_size=200), st.sampled_from([data[:16] for data in CORPUS] + [b""]))
def test_noise_after_a_real_header(noise, header):
    with suppress(ImageError):
        load_image(header + noise)


# Size


def test_one_pixel():
    assert load_image(_file(PHOTO[:1, :1], "PNG")).tolist() == [[PHOTO[0, 0].tolist()]]


def test_a_line_30000_px_long(tmp_path):
    line = np.resize(PHOTO, (30_000, 1, 3))
    path = tmp_path / "line.png"
    path.write_bytes(_file(line, "PNG"))
    assert (load_image(path) == line).all()


def test_a_header_of_900_megapixels_is_refused_before_decoding(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(_png(30_000, 30_000, b"\0" * 100))
    _fails(path, "bomb.png", "100 megapixels")


def test_a_header_just_over_the_limit_is_refused_with_its_size():
    _fails(_png(20_000, 5_001, b"\0"), "20000 x 5001", "100 megapixels")


def test_an_array_over_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", H * W - 1)
    _fails(PHOTO, f"{W} x {H}")


def test_a_picture_without_pixels():
    _fails(Image.new("RGB", (0, 4)), "0 x 4")


# Modes and depths


def test_16_bit_grey_is_scaled_by_65535():
    deep = GREY.astype(np.uint16) * 257
    for format in ("PNG", "TIFF"):
        assert (load_image(_file(deep, format)) == GREY[..., None]).all()


def test_16_bit_rgb():
    rows = b"".join(b"\0" + row.tobytes() for row in PHOTO.astype(">u2") * 257)
    assert (load_image(_png(W, H, rows, bits=16)) == PHOTO).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 200.0], [0, 100, 200]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([0.0, 500.0, 1000.0], [0, 128, 255]),
        ([np.nan, 0.0, 1.0], [0, 0, 255]),
        ([-np.inf, 0.5, np.inf], [128, 128, 128]),
        ([np.nan, np.nan, np.nan], [0, 0, 0]),
        ([7.0, 7.0, 7.0], [7, 7, 7]),
    ],
)
def test_float_tiff(values, expected):
    image = load_image(_file(np.array([values], dtype=np.float32), "TIFF"))
    assert image[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 100, 255], [0, 100, 255]),
        ([0, 257, 65535], [0, 1, 255]),
        ([-100, 0, 100], [0, 128, 255]),
        ([0, 70_000, 140_000], [0, 128, 255]),
    ],
)
def test_32_bit_tiff(values, expected):
    image = load_image(_file(np.array([values], dtype=np.int32), "TIFF"))
    assert image[0, :, 0].tolist() == expected


def test_cmyk():
    buffer = io.BytesIO()
    Image.fromarray(SMOOTH).convert("CMYK").save(buffer, "JPEG", quality=100)
    assert np.abs(load_image(buffer.getvalue()).astype(int) - SMOOTH).max() <= 8


def test_alpha_is_laid_over_white():
    alpha = np.zeros((H, W, 1), dtype=np.uint8)
    alpha[: H // 2] = 255
    image = load_image(_file(np.concatenate([PHOTO, alpha], axis=2), "PNG"))
    assert (image[: H // 2] == PHOTO[: H // 2]).all()
    assert (image[H // 2 :] == 255).all()


def test_grey_with_alpha():
    pixels = np.stack([GREY, np.zeros_like(GREY)], axis=-1)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    assert (load_image(buffer.getvalue()) == 255).all()


def test_palette_with_a_transparent_colour():
    picture = Image.fromarray((np.arange(H * W) % 2).reshape(H, W).astype(np.uint8)).convert("P")
    picture.putpalette([10, 20, 30, 40, 50, 60] + [0] * 762)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", transparency=0)
    image = load_image(buffer.getvalue())
    assert image[0, 0].tolist() == [255, 255, 255]
    assert image[0, 1].tolist() == [40, 50, 60]


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("RGB", (W, H), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    assert (load_image(buffer.getvalue()) == (255, 0, 0)).all()


def test_black_and_white():
    bits = GREY > 100
    assert (load_image(_file(bits, "PNG")) == bits[..., None] * np.uint8(255)).all()


UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_rotations(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    path.write_bytes(_file(PHOTO, "PNG", exif=exif))
    assert (load_image(path) == UPRIGHT[orientation](PHOTO)).all()


# Sources are equal, and left alone


def test_path_text_bytes_picture_and_array_give_the_same(tmp_path):
    path = tmp_path / "p.png"
    path.write_bytes(_file(PHOTO, "PNG"))
    for source in (path, str(path), path.read_bytes(), Image.open(path), PHOTO):
        assert (load_image(source) == PHOTO).all()


@pytest.mark.parametrize("array", [PHOTO, PHOTO[::2, ::-1], np.asfortranarray(PHOTO), GREY, GREY > 9, PHOTO[:1, :1]])
def test_arrays(array):
    before = array.copy()
    image = load_image(array)
    grey = array.astype(np.uint8) * (255 if array.dtype == bool else 1)
    assert (image == (grey if array.ndim == 3 else grey[..., None])).all()
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    image[:] = 0
    assert (array == before).all()


def test_array_with_alpha():
    array = np.concatenate([PHOTO, np.zeros((H, W, 1), np.uint8)], axis=2)
    assert (load_image(array) == 255).all()


@pytest.mark.parametrize(
    "array",
    [
        PHOTO.astype(float),
        PHOTO.astype(np.uint16),
        PHOTO.astype(np.int8),
        PHOTO[..., :1],
        PHOTO[..., :2],
        PHOTO[:0],
        PHOTO[None],
        np.array(3, np.uint8),
        np.array([[None]]),
        np.zeros((2, 2), dtype=[("a", "u1")]),
        PHOTO.transpose(2, 0, 1),
    ],
    ids=lambda array: f"{array.shape}-{array.dtype}",
)
def test_arrays_that_are_no_photo(array):
    _fails(array, str(array.shape), str(array.dtype))


# From image to pixels


@pytest.mark.parametrize(
    ("size", "keep_aspect", "expected"),
    [
        ((375, 500), False, (336, 336)),
        ((375, 500), True, (336, 448)),
        ((500, 375), True, (448, 336)),
        ((300, 300), True, (336, 336)),
        ((1, 30_000), True, (336, 1344)),
        ((30_000, 1), True, (1344, 336)),
    ],
)
def test_input_size(size, keep_aspect, expected):
    assert input_size(*size, 336, 16, keep_aspect) == expected


def test_input_size_must_fit_the_patches():
    with pytest.raises(ConfigError, match="use 336 or 352"):
        input_size(100, 100, 340, 16, False)


def test_to_pixels_is_channels_first_and_in_range():
    pixels = to_pixels(SMOOTH, (H, W))
    assert pixels.shape == (3, H, W)
    np.testing.assert_allclose(pixels.permute(1, 2, 0).numpy() * 255, SMOOTH, atol=1e-4)


def test_to_pixels_resizes_height_and_width():
    assert to_pixels(SMOOTH, (8, 16)).shape == (3, 8, 16)


def test_normalise_pixels_by_channel():
    pixels = to_pixels(SMOOTH, (H, W))
    normal = normalise_pixels(pixels, (0.1, 0.2, 0.3), (0.5, 0.25, 2.0))
    for channel, (mean, std) in enumerate([(0.1, 0.5), (0.2, 0.25), (0.3, 2.0)]):
        np.testing.assert_allclose(normal[channel], (pixels[channel] - mean) / std, rtol=1e-6)


def test_holes_cover_exactly_the_dropped_patches():
    import torch

    pixels = to_pixels(SMOOTH, (24, 36))
    kept = torch.ones(2 * 3, dtype=torch.bool)
    kept[4] = False  # second row, second column of 12 x 12 px patches
    before = pixels.clone()
    holed = punch_holes(pixels, kept, (2, 3), (0.1, 0.2, 0.3))
    expected = before.clone()
    expected[:, 12:24, 12:24] = torch.tensor([0.1, 0.2, 0.3])[:, None, None]
    assert torch.equal(holed, expected)
    assert torch.equal(pixels, before)


def test_path_may_be_a_path_of_any_script(tmp_path):
    path = tmp_path / "Größe 猫 'x'.png"
    path.write_bytes(_file(PHOTO, "PNG"))
    assert (load_image(Path(path)) == PHOTO).all()
