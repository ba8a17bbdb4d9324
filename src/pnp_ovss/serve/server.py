"""How the service runs: its port is taken before anything else, a signal lets the job that runs end."""

from __future__ import annotations

import signal
import socket

import uvicorn
from fastapi import FastAPI

GRACE_S = 30
"""How long jobs may go on after a signal."""


def run(app: FastAPI, port: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM; requests that came before are answered."""
    options = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=GRACE_S, ws="none"
    )
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn hands a signal that ended it to the handler before its own
        signal.signal(number, lambda *_: None)
    uvicorn.Server(options).run(sockets=[port])
