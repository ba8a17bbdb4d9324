"""Files: text read in one way, results whole or absent, names that stay below their folder."""

from __future__ import annotations

import codecs
import hashlib
import json
import logging
import os
import threading
import tomllib
import zlib
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePath
from typing import Any

from pnp_ovss.errors import ConfigError, OutputError, PnPError

log = logging.getLogger(__name__)

TEMPORARY = ".tmp-"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def shown(path: str | bytes | Path) -> str:
    r"""A path as text that any file can hold; bytes that are no UTF-8 become \xNN, half a character \uNNNN."""
    try:
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a text that no file can be named by, from a foreign JSON
        return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


def read_text(path: str | Path, what: str = "", *, error: type[PnPError] = ConfigError) -> str:
    """A text file: UTF-8 (or UTF-16 with its mark), the byte order mark left out, every line end a newline.

    what: names the file in the `error` that is raised when it cannot be read.
    """
    try:
        data = Path(path).read_bytes()
        text = data.decode("utf-16" if data.startswith(_UTF_16) else "utf-8")
    except OSError as problem:
        raise error(f"cannot read {_named(what, path)}: {problem.strerror or problem}") from None
    except UnicodeDecodeError as problem:
        line = data[: problem.start].count(b"\n") + 1
        raise error(f"{_named(what, path)} is not UTF-8 text (line {line}); save it as UTF-8") from None
    except ValueError as problem:  # a path that no system has
        raise error(f"cannot read {_named(what, path)}: {problem}") from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _named(what: str, path: str | Path) -> str:
    return f"{what} {shown(path)}".strip()


def read_lines(path: str | Path, what: str = "", *, error: type[PnPError] = ConfigError) -> list[str]:
    """The lines of a text file, cut at line ends only: a name may hold U+2028 and the like."""
    return read_text(path, what, error=error).removesuffix("\n").split("\n")


def read_json(path: str | Path, what: str = "", *, error: type[PnPError] = ConfigError) -> Any:
    """The value of a JSON file. Raises `error` for anything else, for one key given twice in an object, too."""
    text = read_text(path, what, error=error)
    try:
        return json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as problem:
        raise error(f"{_named(what, path)} is not JSON: {problem}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice!r} is given twice")
    return found


def read_toml(path: str | Path, what: str = "", *, error: type[PnPError] = ConfigError) -> dict[str, Any]:
    """The tables of a TOML file. Raises `error` for anything else."""
    text = read_text(path, what, error=error)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as problem:
        raise error(f"{_named(what, path)} is not valid TOML: {problem}") from None


def sha256_of(path: Path) -> str:
    """The sha256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def writing(path: str | Path, advice: str = "make room or choose another place") -> Generator[None]:
    """Turn what the system says when it cannot write to `path` into one OutputError, with the advice."""
    try:
        yield
    except OSError as error:
        file = next((parent for parent in Path(path).parents if os.path.isfile(parent)), None)
        why = f"{shown(file)} is a file, no folder" if file else error.strerror or error
        raise OutputError(f"cannot write to {shown(path)}: {why}; {advice}") from error


@contextmanager
def replacing(path: Path, *, flush: bool = True) -> Generator[Path]:
    """A temporary file beside `path` to write to, which takes its place when the block ends well; folders are made.

    flush: to the disk before. Raises OutputError, also for an OSError of the block.
    """
    mark = zlib.crc32(os.fsencode(path.name))
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{threading.get_ident()}-{mark:08x}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            if flush:
                with open(temporary, "rb+") as file:
                    os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        if flush:
            fsync_folder(path.parent)


def write_atomically(path: Path, data: bytes | str, *, flush: bool = True) -> None:
    """Write a file whole or not at all. Raises OutputError.

    Text becomes UTF-8; what UTF-8 has no bytes for (bytes of a file name) is written as an escape.
    """
    with replacing(path, flush=flush) as temporary:
        temporary.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "backslashreplace"))


def file_stem(photo: Path) -> str:
    """A photo's name without its ending; "image" where only dots would be left, which lead elsewhere.

    >>> file_stem(Path("cat.jpg")), file_stem(Path("..png"))
    ('cat', 'image')
    """
    return photo.stem if photo.stem.strip(".") else "image"


def write_json(path: Path, value: Any, *, ascii_only: bool = False) -> None:
    """Write a JSON value atomically, indented by two; a string that is no UTF-8 is escaped. Raises OutputError."""
    write_atomically(path, json_text(value, ascii_only=ascii_only))


def json_text(value: Any, *, ascii_only: bool = False) -> str:
    """What `write_json` writes."""
    return json.dumps(value, indent=2, ensure_ascii=ascii_only) + "\n"


def fsync_folder(folder: Path) -> None:
    """Make a rename last; a system that cannot flush folders does it in its own time."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporaries(folder: Path) -> None:
    """Delete what a killed run left half written."""
    for path in folder.rglob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)


@cache
def _say_no_locks() -> None:
    log.warning("this system has no file locks: do not let two runs write into one folder")


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold the lock file `path` (made, and left there); it dies with its process. Raises OutputError if another has it."""
    try:
        import fcntl
    except ImportError:
        _say_no_locks()
        yield
        return
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a")  # noqa: SIM115
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            where = shown(path.parent)
            raise OutputError(f"another run is writing to {where}; wait for it or choose another place") from error
        except OSError as error:
            raise OutputError(f"cannot lock {shown(path)}: {error.strerror or error}") from error
        yield


def below(folder: Path, id: str, ending: str = "") -> Path:
    """The file of an id below its folder, whose own folders are made. Raises OutputError for an id that leads out.

    >>> below(Path("/tmp"), "../x")
    Traceback (most recent call last):
    pnp_ovss.errors.OutputError: '../x' names no file below /tmp: give a name without '..' and without a leading slash
    """
    path = PurePath(id)
    if not path.name or path.is_absolute() or path.drive or ".." in path.parts or "\0" in id:
        raise OutputError(
            f"{shown(id)!r} names no file below {shown(folder)}: give a name without '..' and without a leading slash"
        )
    target = folder / f"{id}{ending}"
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        inside = target.parent.resolve().is_relative_to(folder.resolve())
    if not inside:
        raise OutputError(f"{shown(id)!r} leads out of {shown(folder)} through a link: remove the link")
    return target
