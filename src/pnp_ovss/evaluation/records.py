"""What is kept of each image while a data set is evaluated, in a file that an interrupted run is resumed
from.

JSON lines: a header with the settings, then one record an image, written as soon as it is known. A last
line that was cut off is dropped. The same lines, read again, give the intervals and the paired comparison
of two runs.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from pnp_ovss.errors import ConfigError, OutputError
from pnp_ovss.evaluation.intervals import ImageCounts

FORMAT = 1


@dataclass(frozen=True)
class ImageRecord:
    """One image's outcome; `counts` and `kept` by variant, empty with an `error`."""

    id: str
    present: tuple[int, ...] = ()
    """Labels (from 1) in the ground truth."""
    counts: Mapping[str, ImageCounts] = field(default_factory=dict)
    kept: Mapping[str, tuple[int, ...] | None] = field(default_factory=dict)
    """Labels that were allowed to compete; None for all."""
    seconds: float = 0.0
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, small."""
        if self.error is not None:
            return {"id": self.id, "error": self.error}
        variants = {
            name: {"counts": counts.to_json(), "kept": self.kept.get(name)} for name, counts in self.counts.items()
        }
        return {"id": self.id, "present": self.present, "seconds": round(self.seconds, 4), "variants": variants}

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
            kept={name: None if part["kept"] is None else tuple(part["kept"]) for name, part in variants.items()},
            seconds=entry["seconds"],
        )


def read_records(path: Path) -> tuple[dict[str, Any], tuple[ImageRecord, ...]]:
    """Settings and records of a record file. Raises OutputError if it is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        header = json.loads(lines[0])
        size = header["classes"] + 1
        whole = [json.loads(line) for line in lines[1:] if line.endswith("\n")]
        records = tuple(ImageRecord.from_json(entry, size) for entry in whole)
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(f"cannot read the records {path}: {error}") from None
    except (ValueError, LookupError, TypeError) as error:
        raise OutputError(f"{path} holds no records of an evaluation ({error!r}); remove it and start again") from None
    return header, records


class RecordFile:
    """Appends records to a file; a context manager. `done` holds those that were there."""

    def __init__(self, path: Path, header: Mapping[str, Any], *, resume: bool) -> None:
        self.path = path
        self.done: dict[str, ImageRecord] = {}
        self._header = {"format": FORMAT, **header}
        if resume and path.exists():
            self._take_over()
        self._stream: TextIO | None = None

    def __enter__(self) -> "RecordFile":
        lines = [self._header, *(record.to_json() for record in self.done.values())]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            whole = self.path.with_name(self.path.name + ".tmp")
            whole.write_text("".join(_line(entry) for entry in lines), encoding="utf-8")
            whole.replace(self.path)
            self._stream = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot write the records {self.path}: {error.strerror or error}") from None
        return self

    def __exit__(self, *exception: object) -> None:
        if self._stream:
            self._stream.close()

    def append(self, record: ImageRecord) -> None:
        """Write one record through to the disk's cache at once."""
        assert self._stream is not None, "use the file in a with block"
        self._stream.write(_line(record.to_json()))
        self._stream.flush()

    def _take_over(self) -> None:
        header, records = read_records(self.path)
        mine = json.loads(json.dumps(self._header))
        different = sorted(key for key in mine.keys() | header.keys() if mine.get(key) != header.get(key))
        if different:
            raise ConfigError(
                f"{self.path} was begun with other settings ({', '.join(different)} differ); "
                "resume with the same ones, choose another --out, or leave --resume out to start again"
            )
        self.done = {record.id: record for record in records if record.error is None}


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":")) + "\n"
