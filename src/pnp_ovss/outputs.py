"""Folders that we write to: each keeps a list of what was made in it, and nothing else in it is ever replaced."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pnp_ovss.errors import OutputError
from pnp_ovss.files import file_stem, write_atomically, writing
from pnp_ovss.files import shown as path_text

LIST = ".pnp-ovss-made.jsonl"
"""The list's name: an ASCII JSON object a line, {"files": {name: twelve hex digits of its content}, ...}."""
LOCK = ".lock"
"""The lock file of a folder that a run writes to."""
LONGEST_BYTES = 200
"""Of a result's stem: file systems hold 255 with the ending."""
ANY = "any"
"""The content of a file that a run planned to write: it may have been killed before it noted it."""


class OutputFolder:
    """A folder and the list of what runs made in it.

    entries: what the run that began last has made so far, in its order; each has "files" and whatever `add` was told.
    earlier: {name: content} of what runs before it made and it has not replaced. facts: what `begin` was told.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._list = folder / LIST
        self._read()

    def _read(self) -> None:
        self.earlier: dict[str, str] = {}
        self.facts: dict[str, Any] = {}
        self._of: dict[Any, dict[str, str]] = {}
        self.entries: list[dict[str, Any]] = []
        self._ours: dict[str, set[str]] = {}
        for entry in _read_lines(self._list):
            if "earlier" in entry:
                self.facts, self.earlier = entry, dict(entry["earlier"])
                self._ours = {name: {digest} for name, digest in self.earlier.items()}
                self._ours |= {name: {ANY} for name in entry["planned"]}
            else:
                self._take(entry)

    @property
    def has_list(self) -> bool:
        """Whether any run of ours left its list here."""
        return self._list.exists()

    def check(self, names: Iterable[str]) -> None:
        """Refuse, before any work, to replace a file that no run made or that was changed since.

        names: relative to the folder. Raises OutputError that names the first such file.
        """
        for name in names:
            path, made = self.folder / name, self._ours.get(name, set())
            if ANY not in made and os.path.lexists(path) and content(path) not in made:
                what = "was changed since it was made" if made else "was not made by a run into this folder"
                raise OutputError(f"{path_text(path)} is there and {what}; choose another --out, or move it away")

    def has(self, of: Any) -> bool:
        """Whether this run's files of something (what `add` was told as `of`) are there, as they were made."""
        made = self._of.get(of)
        return made is not None and all(content(self.folder / name) == digest for name, digest in made.items())

    def begin(self, planned: Iterable[str] = (), **facts: Any) -> OutputFolder:
        """Begin a run: what the list holds counts as earlier. Returns itself; raises OutputError.

        facts: whatever tells the run from others. planned: names, checked, that may be written before they are added
        (the run may be killed in between).
        """
        names = list(planned)
        self.check(names)
        made = {name: digest for entry in self.entries for name, digest in entry["files"].items()}
        header = {"earlier": self.earlier | made, "planned": names, **facts}
        write_atomically(self._list, _line(header))
        self._read()
        return self

    def add(self, files: Iterable[Path], **facts: Any) -> None:
        """Note files that have just been written into the folder, and what they are of; none for a failure."""
        self._note({path.relative_to(self.folder).as_posix(): content(path) for path in files}, facts)

    def write(self, name: str, data: bytes, **facts: Any) -> None:
        """Write one file, noted before it is put in place, and what it is of. Raises OutputError for one that no run made."""
        self.check([name])
        self._note({name: hashlib.sha256(data).hexdigest()[:12]}, facts)
        write_atomically(self.folder / name, data, flush=False)

    def remove_earlier(self) -> None:
        """Remove what earlier runs made, this one did not replace and nobody changed since."""
        with writing(self.folder):
            for name, made in self.earlier.items():
                path = self.folder / name
                if path.is_file() and content(path) == made:
                    path.unlink()
        self.earlier = {}

    def _note(self, files: dict[str, str], facts: dict[str, Any]) -> None:
        entry = {"files": files, **facts}
        with writing(self.folder), open(self._list, "ab") as stream:
            stream.write(_line(entry))
        self._take(entry)

    def _take(self, entry: dict[str, Any]) -> None:
        self.entries.append(entry)
        self._of[entry.get("of")] = entry["files"]
        for name, digest in entry["files"].items():
            self._ours.setdefault(name, set()).discard(ANY)
            self._ours[name].add(digest)
            self.earlier.pop(name, None)


def refuse_inputs(outputs: Iterable[Path], inputs: Iterable[Path], what: str) -> None:
    """Refuse, before any work, to write over what is read. Raises OutputError that names the first such file."""
    read = {_real(path) for path in inputs}
    for path in outputs:
        if _real(path) in read:
            raise OutputError(f"{path_text(path)} is {what} and would be replaced; choose another --out")


_ENDS = 1 << 16
_NOTHING = (b"", b"[]")
"""Files in which nobody can lose anything: an export of which every photo failed is an empty list."""


def refuse_foreign(path: Path, mark: bytes, what: str, beside: Iterable[str] = ()) -> None:
    """Refuse, before any work, to replace a file that is no `what` of ours. Raises OutputError.

    mark: what every such file holds in its first or last 64 KiB. beside: endings of what is written with it, which is
    replaced only where the file itself is there.
    """
    ours = path.is_file() and ((ends := _both_ends(path)).strip() in _NOTHING or mark in ends)
    for place in (path, *map(path.with_suffix, beside)):
        if os.path.lexists(place) and not ours:
            raise OutputError(f"{path_text(place)} is there and is no {what} of pnp-ovss; choose another --out")


def _both_ends(path: Path) -> bytes:
    with writing(path), open(path, "rb") as file:
        first = file.read(_ENDS)
        file.seek(max(file.tell(), path.stat().st_size - _ENDS))
        return first + file.read()


def result_names(stem: str) -> list[str]:
    """The files of one photo's result: labels, overlay, evidence."""
    return [stem + ending for ending in (".labels.png", ".overlay.png", ".json")]


def unique_stems(photos: Iterable[Path], owners: Mapping[str, str] | None = None) -> list[str]:
    """One file stem a photo, in order: numbered where letters alone, whatever their case, would not tell two apart.

    owners: {stem: photo} of results that are there; a photo has its own again and never another's.
    Cut where the ending of a result would make the name too long for a file.
    """
    stems: list[str] = []
    taken: set[str] = set()
    theirs = {file_key(stem): photo for stem, photo in (owners or {}).items()}
    for photo in photos:
        own = str(photo.absolute())
        plain = stem = os.fsdecode(os.fsencode(file_stem(photo))[:LONGEST_BYTES])
        count = 1
        while file_key(stem) in taken or theirs.get(file_key(stem), own) != own:
            count += 1
            stem = f"{plain}-{count}"
        taken.add(file_key(stem))
        stems.append(stem)
    return stems


def file_key(stem: str) -> str:
    """What file systems that know no case, or one form of accents only, tell names by."""
    return unicodedata.normalize("NFC", stem.casefold())


def name_too_long(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is that a file cannot have so long a name: that concerns one photo."""
    while error is not None:
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            return True
        error = error.__cause__
    return False


def content(path: Path) -> str:
    """Twelve hex digits of a file's bytes; "" when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:12]
    except OSError:
        return ""


def _real(path: Path) -> str:
    """One text for one file, whatever link or case of letters (on systems that do not tell them) leads to it."""
    return os.path.normcase(os.path.realpath(path))


def _line(entry: dict[str, Any]) -> bytes:
    return (json.dumps(entry, separators=(",", ":")) + "\n").encode("ascii")


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a list; a torn or damaged one counts as never written."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return
    for line in lines[:-1]:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("files", entry.get("earlier")), dict):
            yield entry
