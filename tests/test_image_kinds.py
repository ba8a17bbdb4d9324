"""Formats, depths, rotations and arrays to upright RGB, and on to the model's pixels."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pnp_ovss import depth
from pnp_ovss.errors import ConfigError, ImageError
from pnp_ovss.images import input_size, limited_size, normalise_pixels, punch_holes, read_image, resize_to, to_pixels
from tests.photos import GREY, PHOTO, SMOOTH, H, W, image_file, png_file, refusal

# Modes and depths


def test_16_bit_grey_is_scaled_by_65535():
    deep = GREY.astype(np.uint16) * 257
    for format in ("PNG", "TIFF"):
        assert (read_image(image_file(deep, format)) == GREY[..., None]).all()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_where_white_is_0_a_scan_is_no_negative(kind):
    tifffile, data = pytest.importorskip("tifffile"), io.BytesIO()
    tifffile.imwrite(data, GREY.astype(kind) * (np.iinfo(kind).max // 255), photometric="miniswhite")
    assert (read_image(data.getvalue()) == 255 - GREY[..., None]).all()


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.parametrize("bits", [9, 10, 12, 14])
def test_fewer_bits_in_16_are_scaled_by_what_they_use(format, bits, caplog, monkeypatch):
    monkeypatch.setattr(depth, "_said", set())
    top = 2**bits - 1
    deep = np.round(GREY / 255 * top).astype(np.uint16)
    deep[0, 0] = top
    image = read_image(image_file(deep, format))
    assert np.abs(image[..., 0].astype(int) - np.round(deep / top * 255)).max() <= 1
    read_image(image_file(deep, format))
    assert caplog.messages == [f"the image has 16 bits and uses {bits}: photos like it are scaled by 2^{bits} - 1"]


def test_16_bit_colours_of_which_12_are_used_are_as_bright(caplog, monkeypatch):
    monkeypatch.setattr(depth, "_said", set())
    deep = (PHOTO.astype(">u2") * 16 + 15).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    image = read_image(png_file(W, H, rows, bits=16)).astype(int)
    assert np.abs(image - PHOTO).max() <= 17  # Pillow keeps four of the twelve bits
    assert "uses 12" in caplog.text


def test_16_bit_rgb():
    rows = b"".join(b"\0" + row.tobytes() for row in PHOTO.astype(">u2") * 257)
    assert (read_image(png_file(W, H, rows, bits=16)) == PHOTO).all()


def test_16_bit_colours_in_planes_are_refused_where_8_of_them_would_be_read():
    """Pillow takes the bytes of such a file for twice as many 8-bit pixels."""
    data = io.BytesIO()
    tifffile = pytest.importorskip("tifffile")
    planes = np.moveaxis(PHOTO.astype(np.uint16) * 16, -1, 0)
    tifffile.imwrite(data, planes, photometric="rgb", planarconfig="separate")
    with pytest.raises(ImageError, match="planes of more than 8 bits"):
        read_image(data.getvalue())


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
    image = read_image(image_file(np.array([values], dtype=np.float32), "TIFF"))
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
    image = read_image(image_file(np.array([values], dtype=np.int32), "TIFF"))
    assert image[0, :, 0].tolist() == expected


def test_cmyk():
    buffer = io.BytesIO()
    Image.fromarray(SMOOTH).convert("CMYK").save(buffer, "JPEG", quality=100)
    assert np.abs(read_image(buffer.getvalue()).astype(int) - SMOOTH).max() <= 8


def test_alpha_is_laid_over_white():
    alpha = np.zeros((H, W, 1), dtype=np.uint8)
    alpha[: H // 2] = 255
    image = read_image(image_file(np.concatenate([PHOTO, alpha], axis=2), "PNG"))
    assert (image[: H // 2] == PHOTO[: H // 2]).all()
    assert (image[H // 2 :] == 255).all()


def test_grey_with_alpha():
    pixels = np.stack([GREY, np.zeros_like(GREY)], axis=-1)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    assert (read_image(buffer.getvalue()) == 255).all()


def test_palette_with_a_transparent_colour():
    picture = Image.fromarray((np.arange(H * W) % 2).reshape(H, W).astype(np.uint8)).convert("P")
    picture.putpalette([10, 20, 30, 40, 50, 60] + [0] * 762)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", transparency=0)
    image = read_image(buffer.getvalue())
    assert image[0, 0].tolist() == [255, 255, 255]
    assert image[0, 1].tolist() == [40, 50, 60]


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("RGB", (W, H), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    assert (read_image(buffer.getvalue()) == (255, 0, 0)).all()


def test_black_and_white():
    bits = GREY > 100
    assert (read_image(image_file(bits, "PNG")) == bits[..., None] * np.uint8(255)).all()


# Sources are equal, and left alone


def test_path_text_bytes_picture_and_array_give_the_same(tmp_path):
    path = tmp_path / "p.png"
    path.write_bytes(image_file(PHOTO, "PNG"))
    for source in (path, str(path), path.read_bytes(), Image.open(path), PHOTO):
        assert (read_image(source) == PHOTO).all()


@pytest.mark.parametrize("array", [PHOTO, PHOTO[::2, ::-1], np.asfortranarray(PHOTO), GREY, GREY > 9, PHOTO[:1, :1]])
def test_arrays(array):
    before = array.copy()
    image = read_image(array)
    grey = array.astype(np.uint8) * (255 if array.dtype == bool else 1)
    assert (image == (grey if array.ndim == 3 else grey[..., None])).all()
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    image[:] = 0
    assert (array == before).all()


def test_array_with_alpha():
    array = np.concatenate([PHOTO, np.zeros((H, W, 1), np.uint8)], axis=2)
    assert (read_image(array) == 255).all()


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
    refusal(array, str(array.shape), str(array.dtype))


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
    np.testing.assert_allclose(pixels.permute(1, 2, 0).numpy() * 255, SMOOTH, atol=1e-2)  # a photo's levels are 1 apart


def test_to_pixels_resizes_height_and_width():
    assert to_pixels(SMOOTH, (8, 16)).shape == (3, 8, 16)


def test_normalise_pixels_by_channel():
    pixels = to_pixels(SMOOTH, (H, W))
    normal = normalise_pixels(pixels, (0.1, 0.2, 0.3), (0.5, 0.25, 2.0))
    for channel, (mean, std) in enumerate([(0.1, 0.5), (0.2, 0.25), (0.3, 2.0)]):
        np.testing.assert_allclose(normal[channel], (pixels[channel] - mean) / std, rtol=1e-4, atol=1e-4)


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
    path.write_bytes(image_file(PHOTO, "PNG"))
    assert (read_image(Path(path)) == PHOTO).all()


def test_large_photos_become_small_and_small_ones_stay():
    assert limited_size((1000, 3000), 512) == (171, 512)
    assert limited_size((100, 300), 512) == (100, 300)
    assert resize_to(PHOTO, (5, 7)).shape == (5, 7, 3)
    assert resize_to(PHOTO, (H, W)) is PHOTO
