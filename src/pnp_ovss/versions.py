"""The versions that are written with every result."""

import platform
from functools import cache
from importlib.metadata import version


@cache
def library_versions() -> dict[str, str]:
    """Versions of this package and of what its numbers depend on."""
    packages = ("pnp-ovss", "torch", "transformers", "numpy", "pillow")
    return {name: version(name) for name in packages} | {"python": platform.python_version()}
