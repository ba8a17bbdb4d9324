"""The names that may win in each photo, from a list: a tagger's, an LLM's, a person's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from pnp_ovss.errors import ConfigError
from pnp_ovss.files import read_json
from pnp_ovss.photo_files import without_ending
from pnp_ovss.words import counted


@dataclass(frozen=True)
class Candidates:
    """The names that a list gives for each photo: from a tagger, an LLM, a person.

    names: {photo: class names}; a photo or a key may be a file name with or without its folders or ending. The key that
    has most folders in common with the photo counts.
    """

    names: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path) -> Candidates:
        """From a JSON file {photo: [class names]}. Raises ConfigError when it is anything else."""
        data = read_json(path)
        lists = isinstance(data, dict) and all(isinstance(v, list) for v in data.values())
        if not lists or any(not isinstance(name, str) for names in data.values() for name in names):
            raise ConfigError(f'{path} must look like {{"photo.jpg": ["cat", "sofa"], ...}}')
        return cls(data)

    def of(self, photo: str) -> Sequence[str]:
        """The names listed for a photo. Raises ConfigError when it is not listed, or twice."""
        found = self.find(photo)
        if found is None:
            others = counted(len(self.names), "other")
            raise ConfigError(f"the candidates name no image '{photo}'; they name {others}: add it, or use policy itm")
        return found

    def find(self, photo: str) -> Sequence[str] | None:
        """The names listed for a photo, None when it is not listed. Raises ConfigError when it is listed twice."""
        if photo in self.names:
            return self.names[photo]
        parts, _ = _split(photo)
        shared = {key: size for key in self._by_name.get(parts[-1:], ()) if (size := _shared(key, photo))}
        most = max(shared.values(), default=0)
        best = [key for key, size in shared.items() if size == most]
        if len(best) > 1:
            raise ConfigError(
                f"'{best[0]}' and '{best[1]}' both name the image '{photo}': keep one, or write its folders"
            )
        return self.names[best[0]] if best else None

    @cached_property
    def _by_name(self) -> dict[tuple[str, ...], list[str]]:
        """The keys by their last part without ending."""
        found: dict[tuple[str, ...], list[str]] = {}
        for key in self.names:
            found.setdefault(_split(key)[0][-1:], []).append(key)
        return found


def _split(photo: str) -> tuple[tuple[str, ...], str]:
    """The parts of a photo's path, the last without its ending; and the ending."""
    path = Path(photo).as_posix()
    plain = without_ending(path)
    return PurePosixPath(plain).parts, path.removeprefix(plain)


def _shared(key: str, photo: str) -> int:
    """How many parts two names of one photo have in common; 0 where they are of two."""
    (one, its_ending), (other, ending) = _split(key), _split(photo)
    size = min(len(one), len(other))
    endings = {its_ending, ending} - {""}
    return size if len(endings) < 2 and one[len(one) - size :] == other[len(other) - size :] else 0
