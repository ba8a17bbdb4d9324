"""`-` in place of a file: a photo or names from standard input, one PNG to standard output."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from pnp_ovss.errors import ClassNameError, ConfigError, ImageError, OutputError
from pnp_ovss.photo_values import read_file

PIPE = Path("-")
PICTURES = ("labels", "overlay")
NAME = "stdin"
"""What results of a photo from standard input are called."""


def piped_photo() -> tuple[Path, bytes]:
    """The photo on standard input: a path that stands for it, another one for other bytes, and its bytes. Raises ImageError."""
    data = read_file(_input("a photo", ImageError))
    if not data:
        raise ImageError("standard input is empty: there is no photo")
    return Path(f"{NAME}-{hashlib.sha256(data).hexdigest()[:12]}") / NAME, data


def piped_text() -> str:
    """The class file on standard input. Raises ClassNameError."""
    try:
        return _input("class names", ClassNameError).read().decode("utf-8")
    except UnicodeDecodeError:
        raise ClassNameError("the class names on standard input are not UTF-8 text") from None


def _input(what: str, error: type[ImageError | ClassNameError]) -> BinaryIO:
    if sys.stdin is None or sys.stdin.isatty():
        raise error(f"'-' reads {what} from standard input, which is a terminal: add < FILE, or name the file")
    return sys.stdin.buffer


def check_pipes(
    photos: Sequence[Path], classes_file: Path | None, out: Path, picture: str, *, json_lines: bool
) -> None:
    """Refuse, before anything is read, what one stream cannot carry. Raises ConfigError, OutputError."""
    if PIPE in photos and classes_file == PIPE:
        raise ConfigError("standard input holds the photo or the class file, not both: name one of them")
    if picture not in PICTURES:
        raise ConfigError(f"--picture {picture}: write labels or overlay")
    if out != PIPE:
        return
    if len(photos) != 1:
        raise ConfigError(
            f"--out - writes one picture; {len(photos)} photos were given: give one, or a folder as --out"
        )
    if json_lines:
        raise ConfigError("--json and --out - both write to standard output; leave one of them out")
    if sys.stdout.isatty():
        raise OutputError("--out - writes a PNG to standard output, which is a terminal: add > FILE.png")


def write_out(data: bytes) -> None:
    """Bytes to standard output."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
