"""What is kept of each image while a data set is evaluated, in a file that an interrupted run is resumed
from.

ASCII JSON lines: a header with the settings, then one record an image, written as soon as it is known. A last
line that was cut off is dropped. The same lines, read again, give the intervals and the paired comparison
of two runs.
"""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from pnp_ovss.changes import changes, summary
from pnp_ovss.errors import ConfigError, OutputError
from pnp_ovss.evaluation.intervals import ImageCounts
from pnp_ovss.files import locked, write_atomically, writing

FORMAT = 3
KEPT = "what was finished is kept: make room, then resume"


@dataclass(frozen=True)
class ImageRecord:
    """One image's outcome; `counts`, `kept` and `scores` by variant, empty with an `error`."""

    id: str
    present: tuple[int, ...] = ()
    """Labels (from 1) in the ground truth."""
    counts: Mapping[str, ImageCounts] = field(default_factory=dict)
    kept: Mapping[str, tuple[int, ...] | None] = field(default_factory=dict)
    """Labels that were allowed to compete; None for all."""
    scores: Mapping[str, tuple[float, ...] | None] = field(default_factory=dict)
    """How sure the policy was of each class, in [0, 1]; None where it asked nothing."""
    seconds: float = 0.0
    error: str | None = None
    content: Mapping[str, str] = field(default_factory=dict)
    """Twelve hex digits each of the `photo` and the `truth` that it is about."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, small."""
        if self.error is not None:
            return {"id": self.id, "error": self.error}
        variants = {
            name: {"counts": counts.to_json(), "kept": self.kept.get(name), "scores": self.scores.get(name)}
            for name, counts in self.counts.items()
        }
        plain = {"id": self.id, "content": dict(self.content), "present": self.present}
        return {**plain, "seconds": round(self.seconds, 4), "variants": variants}

    @classmethod
    def from_json(cls, entry: dict[str, Any], size: int) -> "ImageRecord":
        """The record again; `size` is the number of classes + 1."""
        if "error" in entry:
            return cls(entry["id"], error=entry["error"])
        variants = entry["variants"]
        return cls(
            id=entry["id"],
            present=tuple(entry["present"]),
            counts={name: ImageCounts.from_json(part["counts"], size) for name, part in variants.items()},
            kept={name: _tuple(part["kept"]) for name, part in variants.items()},
            scores={name: _tuple(part["scores"]) for name, part in variants.items()},
            seconds=entry["seconds"],
            content=entry["content"],
        )


def read_records(path: Path) -> tuple[dict[str, Any], tuple[ImageRecord, ...]]:
    """Settings and records of a record file. Raises OutputError if it is none."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last newline is no whole line
    except OSError as error:
        raise OutputError(f"cannot read the records {path}: {error.strerror or error}") from None
    records: list[ImageRecord] = []
    if not lines:
        raise OutputError(f"{path} is empty and holds no records of an evaluation; remove it and start again")
    try:
        header = json.loads(lines[0])
        size = header["classes"] + 1
        for line in lines[1:]:
            records.append(ImageRecord.from_json(json.loads(line), size))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise OutputError(
            f"{path} holds no records of an evaluation ({error!r} after {len(records)} records); remove it and start again"
        ) from None
    return header, tuple(records)


class RecordFile:
    """Appends records to a file, which it keeps for itself; a context manager. `done` holds those that were there.

    What is removed from `done` before the block is made again. Raises ConfigError for records of other settings, and
    in the block OutputError when the file cannot be written or another run has it.
    """

    def __init__(self, path: Path, header: Mapping[str, Any], *, resume: bool) -> None:
        self.path = path
        self.done: dict[str, ImageRecord] = {}
        self._header = {"format": FORMAT, **header}
        if resume and path.exists():
            self._take_over()
        self._open = ExitStack()
        self._stream: IO[bytes] | None = None

    def __enter__(self) -> "RecordFile":
        lines = [self._header, *(record.to_json() for record in self.done.values())]
        with ExitStack() as opened:
            opened.enter_context(locked(self.path.with_name(f".{self.path.name}.lock")))
            write_atomically(self.path, b"".join(map(_line, lines)))
            with writing(self.path):
                self._stream = opened.enter_context(self.path.open("ab", buffering=0))
            self._open = opened.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    def check_content(self, now: Mapping[str, Mapping[str, str]]) -> None:
        """Refuse to go on with records of other photos, or another ground truth, under the same names. ConfigError."""
        if found := changes({id: dict(self.done[id].content) for id in now}, now):
            raise ConfigError(
                f"{self.path} was begun with other images: {summary(found)}; put them back, or choose another --out"
            )

    def append(self, record: ImageRecord) -> None:
        """Write one record through to the disk's cache at once. Raises OutputError."""
        if self._stream is None:
            raise ValueError("a record file is written to in a with block")
        line = _line(record.to_json())
        with writing(self.path, KEPT):
            if self._stream.write(line) != len(line):
                raise OSError("the disk took only a part of a record")

    def _take_over(self) -> None:
        header, records = read_records(self.path)
        if found := changes(header, self._header):
            raise ConfigError(
                f"{self.path} was begun with other settings: {summary(found)}; "
                "resume with the same ones, choose another --out, or leave --resume out to start again"
            )
        self.done = {record.id: record for record in records if record.error is None}


def _tuple(values: list[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)


def _line(entry: Mapping[str, Any]) -> bytes:
    return (json.dumps(entry, separators=(",", ":")) + "\n").encode("ascii")
