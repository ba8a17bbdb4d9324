"""Whether files are what they were: by the hashes that the hub names its files by, and by our own note."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from pnp_ovss.files import sha256_of, write_json

MADE = "made.json"
"""Written last beside converted weights: their size and sha256. A folder of the cache without it is half made."""


def begin_made(folder: Path) -> None:
    """Note that a conversion of ours writes into the folder; until `note_made` it is half made. Raises OutputError."""
    write_json(folder / MADE, {})


def is_begun(folder: Path) -> bool:
    """Whether a conversion of ours began to write into the folder."""
    return (folder / MADE).is_file()


def note_made(folder: Path) -> None:
    """Note what the folder's `model.safetensors` is. Raises OutputError."""
    weights = folder / "model.safetensors"
    write_json(folder / MADE, {"bytes": weights.stat().st_size, "sha256": sha256_of(weights)})


def is_made(folder: Path) -> bool:
    """Whether a converted folder is finished, and its weights have the size that was written."""
    return _made(folder).get("bytes") == _size(folder / "model.safetensors")


def damaged_files(folder: Path) -> list[Path]:
    """The files that are not what their names or `made.json` say; all are read.

    Files in the hub's cache are links to blobs that are named by their hash: sha256 (64 digits), or git's sha1 of
    small ones (40).
    """
    found = [path for path in sorted(folder.iterdir()) if path.is_symlink() and not _as_named(path.resolve())]
    made = _made(folder)
    if made and made.get("sha256") != sha256_of(folder / "model.safetensors"):
        found.append(folder / "model.safetensors")
    return found


def _as_named(blob: Path) -> bool:
    if not blob.is_file():
        return False
    if re.fullmatch(r"[0-9a-f]{64}", blob.name):
        return sha256_of(blob) == blob.name
    if re.fullmatch(r"[0-9a-f]{40}", blob.name):
        content = blob.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == blob.name
    return True


def _made(folder: Path) -> dict[str, object]:
    try:
        found = json.loads((folder / MADE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1
