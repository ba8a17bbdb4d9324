"""Optional packages: asked for where they are used, with one sentence that says how to get them."""

from importlib.util import find_spec

from pnp_ovss.errors import DependencyError


def need(package: str, purpose: str, extra: str) -> None:
    """Raise DependencyError unless a package is installed. purpose: what needs it; extra: the one that brings it."""
    if find_spec(package) is None:
        raise DependencyError(f"{purpose} needs {package}: pip install '.[{extra}]'")
