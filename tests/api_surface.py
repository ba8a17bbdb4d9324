"""The library's public names, as tests/api_surface.json has them; writes that file: `python tests/api_surface.py "REASON"`."""

import inspect
import json
import sys
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_suffix(".json")


def read() -> dict[str, Any]:
    """`modules`: {module: {name: its public members}}; `changes`: why the names became what they are, newest last."""
    return json.loads(FILE.read_text("utf-8"))


def today(modules: dict[str, dict[str, list[str]]]) -> dict[str, dict[str, list[str]]]:
    """The same names, and those of each module's `__all__`, with the members that they have now."""
    found = {}
    for module, names in modules.items():
        home = import_module(module)
        kept = getattr(home, "__all__", ()) or [name for name in names if hasattr(home, name)]
        found[module] = {
            name: members(getattr(home, name)) for name in sorted({*kept, *(n for n in names if hasattr(home, n))})
        }
    return found


def members(value: Any) -> list[str]:
    """Public methods, properties and fields that a class defines itself; the parameters of a function."""
    if inspect.isfunction(value):
        return list(inspect.signature(value).parameters)
    if not inspect.isclass(value):
        return []
    own = [name for name in vars(value) if not name.startswith("_")]
    declared = [field.name for field in fields(value)] if is_dataclass(value) else []
    return sorted({*own, *(name for name in declared if not name.startswith("_"))})


def write(reason: str) -> None:
    """Keep today's names, with the reason why they are others than before."""
    kept = read()
    kept["modules"] = today(kept["modules"])
    kept["changes"].append({"reason": reason, "names": digest_of(kept["modules"])})
    FILE.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")


def digest_of(modules: dict[str, dict[str, list[str]]]) -> str:
    """What the last change must be of: a digest of all names."""
    from pnp_ovss.provenance import digest

    return digest(modules)


if __name__ == "__main__":
    write(sys.argv[1])
