"""Robust image input: any file, PIL image or array to (H, W, 3) uint8 RGB, and that to a model's pixels."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cache
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Union

import numpy as np
from PIL import Image, UnidentifiedImageError

from pnp_ovss.depth import has_16_bit_colours, has_unread_depth, is_negative, to_8_bit, widen_colours
from pnp_ovss.errors import ConfigError, ImageError
from pnp_ovss.exif import turn_upright
from pnp_ovss.fetching import fetch, is_address
from pnp_ovss.files import shown
from pnp_ovss.photo_files import HEIC_ENDINGS
from pnp_ovss.photo_values import channels_last, is_tensor, read_file

if TYPE_CHECKING:
    from torch import Tensor

MAX_PIXELS = 100_000_000
"""Photos beyond 100 megapixels are refused before they are decoded."""
MAX_ASPECT = 4.0
"""With `keep_aspect`, a longer photo is squashed to this ratio."""

FORMATS = (
    "AVIF",
    "BMP",
    "DIB",
    "GIF",
    "ICO",
    "JPEG",
    "JPEG2000",
    "MPO",
    "PCX",
    "PNG",
    "PPM",
    "QOI",
    "TGA",
    "TIFF",
    "WEBP",
)
"""What is read. Pillow knows more, of which some run other programs (EPS starts Ghostscript)."""
PLUGINS = ("Avif", "Bmp", "Gif", "Ico", "Jpeg", "Jpeg2K", "Pcx", "Png", "Ppm", "Qoi", "Tga", "Tiff", "WebP")
"""Pillow's modules that read these; `Image.init` imports some forty."""

ImageSource = Union[str, Path, bytes, IO[bytes], Image.Image, np.ndarray, "Tensor"]


def read_image(source: ImageSource, *, web: bool = False) -> np.ndarray:
    """Read a photo as (H, W, 3) uint8 RGB, upright.

    source: a path, the bytes of a file, an open binary file, a PIL image, an array (H, W), (H, W, 3) or (H, W, 4) of
    uint8 or bool, or a torch tensor (3, H, W) or (1, H, W), uint8 or floating in [0, 1]. web: a text that is an
    http(s) address is fetched, within the limits of `fetching`.
    EXIF rotation is applied; alpha is laid over white; of an animation the first frame is taken; 16-bit and float
    pictures are scaled to 8 bit by the range that they use (0..4095 is 12 bit). HEIC is read where pillow-heif is
    installed. Raises ImageError with the file's name for anything that cannot be read.
    """
    if web and is_address(source):
        source = fetch(str(source))
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if is_tensor(source):
        return _from_array(channels_last(source))
    if hasattr(source, "read"):
        source = read_file(source)
    if isinstance(source, Image.Image):
        return _decode(lambda: nullcontext(source), "the image")
    if isinstance(source, bytes):
        if not source:
            raise ImageError("the image is empty (0 bytes)")
        return _decode(lambda: Image.open(BytesIO(source), formats=_readable()), "the image")
    if not isinstance(source, str | Path):
        kinds = "a path, an address, bytes, an open file, a PIL image, an array or a tensor"
        raise ImageError(f"an image must be {kinds}, not {type(source).__name__}")
    path = Path(source)
    check_file(path)
    return _decode(lambda: Image.open(path, formats=_readable()), shown(path))


@cache
def _readable() -> tuple[str, ...]:
    """The formats that this Pillow was built with, naming another one is an error; and HEIC with pillow-heif."""
    for plugin in PLUGINS:
        with suppress(ImportError):
            import_module(f"PIL.{plugin}ImagePlugin")
    with suppress(ImportError):
        import_module("pillow_heif").register_heif_opener()
    return tuple(name for name in (*FORMATS, "HEIF") if name in Image.OPEN)


def _decode(opened: Callable[[], AbstractContextManager[Image.Image]], name: str) -> np.ndarray:
    """The pixels of a picture that may be damaged or hostile; `opened` opens it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on damaged metadata and large pictures
            with opened() as picture:
                _check_pixels(*picture.size, name)
                return _to_rgb(picture, name)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        heic = Path(name).suffix.lower() in HEIC_ENDINGS
        advice = "pip install '.[heic]', or convert it" if heic else "convert it"
        raise ImageError(f"{name} is not an image in a format that is read here; {advice} to JPEG or PNG") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} has more than {MAX_PIXELS // 10**6} megapixels; scale it down") from error
    except Exception as error:  # whatever a decoder raises on hostile bytes
        if isinstance(error, OSError) and error.strerror:  # the system: a file that is gone by now, no permission
            raise ImageError(f"{name} cannot be opened: {error.strerror}") from error
        raise ImageError(f"{name} cannot be decoded ({error}); the file is damaged or incomplete") from error


def several(images: Iterable[ImageSource]) -> Iterable[ImageSource]:
    """The images. Raises ImageError for a single one: its letters or rows would be taken for photos."""
    single = isinstance(images, str | Path | bytes | Image.Image) or hasattr(images, "read")
    if single or not isinstance(images, Iterable) or getattr(images, "ndim", 4) < 4:
        raise ImageError(
            f"several images are asked for, not one {type(images).__name__}; write [image], or call the segmenter"
        )
    return images


_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)


def check_file(path: Path) -> None:
    """Raise ImageError, with what to do, for a path that is no file with something in it."""
    try:
        if path.is_dir():
            raise ImageError(
                f"{shown(path)} is a folder, not a photo; name the photos in it, for example {path / '*.jpg'}"
            )
        if not path.exists():
            raise ImageError(address_advice(shown(path)) or f"{shown(path)} does not exist")
        if path.stat().st_size == 0:
            raise ImageError(f"{shown(path)} is empty (0 bytes)")
    except OSError as error:
        raise ImageError(f"{shown(path)} cannot be opened: {error.strerror or error}") from error
    except ValueError as error:
        raise ImageError(f"{path!r} is not a file name: {error}") from error


def address_advice(name: str) -> str:
    """What is said of an address in place of a path, "" for others; a path has lost a slash of what it was made of."""
    if address := _ADDRESS.fullmatch(name):
        if address[1].lower() == "file":
            return f"file:///{address[2]} is an address; give the path itself, /{address[2]}"
        return f"{address[1]}://{address[2]} is an address; addresses are not read here: download the photo first"
    if name.startswith("~"):
        return f"{name} does not exist; '~' stands for the home folder in a shell only: write the folder out"
    return ""


def _from_array(array: np.ndarray) -> np.ndarray:
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    good_shape = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not good_shape or 0 in array.shape:
        raise ImageError(
            f"an array must be (H, W), (H, W, 3) or (H, W, 4) of uint8 0-255; found {array.shape} of {array.dtype}"
        )
    _check_pixels(array.shape[1], array.shape[0], "the array")
    return _to_rgb(Image.fromarray(array), "the array")


def _check_pixels(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name} has {width} x {height} px ({width * height / 1e6:.0f} megapixels); the limit is "
            f"{MAX_PIXELS // 10**6}: scale it down"
        )
    if not width or not height:
        raise ImageError(f"{name} has {width} x {height} px: there is nothing to see")


def _to_rgb(picture: Image.Image, name: str) -> np.ndarray:
    if has_unread_depth(picture):
        raise ImageError(f"{name} has colour planes of more than 8 bits, which are not read here: save it interleaved")
    halved = has_16_bit_colours(picture)
    upright = turn_upright(picture)
    if upright.mode in ("I", "F") or upright.mode.startswith("I;16"):
        upright = to_8_bit(upright, name, negative=is_negative(picture))
    if "A" in upright.getbands() or "transparency" in upright.info:
        layer = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    rgb = np.array(upright.convert("RGB"), dtype=np.uint8)
    return widen_colours(rgb, name) if halved else rgb


def input_size(height: int, width: int, size_px: int, step_px: int, keep_aspect: bool) -> tuple[int, int]:
    """The (S_h, S_w) at which a photo enters the model (method step 1); both multiples of `step_px`.

    >>> input_size(375, 500, 336, 16, keep_aspect=True)
    (336, 448)
    """
    if size_px % step_px:
        low = size_px // step_px * step_px
        near = sorted({max(low, step_px), low + step_px})
        raise ConfigError(f"size {size_px} is not a multiple of {step_px}; use {' or '.join(map(str, near))}")
    if not keep_aspect:
        return size_px, size_px
    ratio = min(max(height, width) / min(height, width), MAX_ASPECT)
    long_px = max(step_px, math.floor(size_px * ratio / step_px + 0.5) * step_px)
    return (size_px, long_px) if width >= height else (long_px, size_px)


def to_pixels(image: np.ndarray, size: tuple[int, int]) -> Tensor:
    """(H, W, 3) uint8 to (3, S_h, S_w) float32 in [0, 1], resized bicubically."""
    import torch

    resized = Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized, dtype=np.float32) / 255).permute(2, 0, 1).contiguous()


def limited_size(size: tuple[int, int], longest_px: int) -> tuple[int, int]:
    """(H, W) px scaled so that the longer side is at most `longest_px`."""
    scale = min(1.0, longest_px / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def resize_to(image: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """(H, W, 3) uint8 at another (H', W') px; itself if it has that size."""
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def normalise_pixels(pixels: Tensor, mean: Any, std: Any) -> Tensor:
    """(3, S_h, S_w) in [0, 1] to the model's input range."""
    return (pixels - pixels.new_tensor(mean)[:, None, None]) / pixels.new_tensor(std)[:, None, None]


def punch_holes(pixels: Tensor, visible: Tensor, grid: tuple[int, int], fill: Any) -> Tensor:
    """Dropped patches filled (step 8). pixels: (3, S_h, S_w) in [0, 1]; visible: (P_h·P_w,) bool; fill: 3 values."""
    mask = visible.reshape(grid).to(pixels)
    mask = mask.repeat_interleave(pixels.shape[1] // grid[0], 0).repeat_interleave(pixels.shape[2] // grid[1], 1)
    return pixels * mask + pixels.new_tensor(fill)[:, None, None] * (1 - mask)
