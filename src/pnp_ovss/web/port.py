"""The port that a page or a service listens on."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Generator

from pnp_ovss.errors import ConfigError


@contextlib.contextmanager
def bound(host: str, port: int) -> Generator[socket.socket]:
    """The socket, listening. port: 0 = any free one. Raises ConfigError when the port is taken or the host is not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family)
    with contextlib.closing(taken):
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((host, port))
            taken.listen(128)
        except OSError as error:
            foreign = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
            what = f"port {port} of {host} cannot be used ({error.strerror or error})"
            raise ConfigError(f"{what}; choose another {'--host' if foreign else '--port'}") from None
        yield taken
