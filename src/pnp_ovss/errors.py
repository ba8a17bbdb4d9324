"""The errors of the library: one line each, saying what was asked, what was found and what to do."""

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class PnPError(Exception):
    """Base of every error that the library raises on purpose."""


class ConfigError(PnPError):
    """A setting, preset or method file that cannot be used."""


class ClassNameError(PnPError):
    """Class names that cannot be prompted."""


class ImageError(PnPError):
    """An image that cannot be read or is too large."""


class ModelError(PnPError):
    """A vision-language model that cannot be found, loaded or trusted."""


class DatasetError(PnPError):
    """A data set whose files are missing, misplaced or malformed."""


class OutputError(PnPError):
    """A result that cannot be written."""


class RefinerError(PnPError):
    """Scores that a refiner cannot work on."""


class DependencyError(PnPError):
    """An optional package that is needed and not installed."""


def expect(value: Any, kind: type[T], what: str, advice: str) -> T:
    """The value itself. Raises ConfigError, with what to do, for one that is no `kind`.

    >>> expect({"layer": 2}, int, "config", "write 2")
    Traceback (most recent call last):
    pnp_ovss.errors.ConfigError: config = {'layer': 2} is no int but a dict; write 2
    """
    if isinstance(value, kind):
        return value
    given = " ".join(repr(value).split())
    given = f"{given[:77]}..." if len(given) > 80 else given
    raise ConfigError(f"{what} = {given} is no {kind.__name__} but a {type(value).__name__}; {advice}")


def attempt(step: Callable[..., T], *given: Any, **options: Any) -> T | PnPError:
    """What a step gives, or the PnPError that it raised."""
    try:
        return step(*given, **options)
    except PnPError as error:
        return error
