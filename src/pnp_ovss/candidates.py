"""The names that may win in each photo, from a list: a tagger's, an LLM's, a person's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pnp_ovss.errors import ConfigError
from pnp_ovss.files import read_json
from pnp_ovss.words import counted


@dataclass(frozen=True)
class Candidates:
    """The names that a list gives for each photo: from a tagger, an LLM, a person.

    names: {photo: class names}; a photo or a key may be a file name with or without its folder or ending.
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
        for key in (photo, Path(photo).name, Path(photo).stem):
            if key in self.names:
                return self.names[key]
        alike = [key for key in self.names if Path(key).stem == photo]
        if len(alike) == 1:
            return self.names[alike[0]]
        raise ConfigError(
            f"the candidates name no image '{photo}'; they name {counted(len(self.names), 'other')}: add it, or use policy itm"
        )
