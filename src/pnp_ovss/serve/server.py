"""How the service runs: its port is taken before anything else, a signal lets the job that runs end."""

from __future__ import annotations

import signal
import socket

import uvicorn
from fastapi import FastAPI

from pnp_ovss.errors import ConfigError
from pnp_ovss.serve.app import LOOPBACK, ServiceConfig

GRACE_S = 30
"""How long jobs may go on after a signal."""


def check(config: ServiceConfig) -> None:
    """Refuse to open a service without a token to the network. Raises ConfigError."""
    if config.host not in LOOPBACK and not config.token:
        raise ConfigError(
            f"whoever reaches {config.host} could use the service: set PNP_OVSS_TOKEN, or leave --host out"
        )


def run(app: FastAPI, port: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM; requests that came before are answered."""
    options = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=GRACE_S, ws="none"
    )
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # uvicorn gives a signal that ended it on to the handler before its own
        signal.signal(number, _ended)
    uvicorn.Server(options).run(sockets=[port])


def _ended(*_: object) -> None:
    """Nothing more is to be done."""
