"""What stands before the page: requests of other pages are refused, the temporary folder has a quota, and no folder
of a dead server stays. Plain ASGI: it needs neither gradio nor its server.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pnp_ovss.errors import OutputError
from pnp_ovss.files import locked

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""Content-Security-Policy: the browser itself refuses whatever would come from, or go to, another host."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PREFIX, LOCK = "pnp-ovss-web-", ".lock"
RETRY_S = 30
"""What a client that is turned away is told to wait."""
OLD_S = 600
"""Files this old go first when the folder is full: whoever made them has had their result."""
_YOUNG_S = 60
"""A folder this new without a lock belongs to a server that is just starting."""


class GuardHeaders:
    """Adds the policy and two more headers to every answer, and when to come again to those that turn away."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, with the headers."""

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = {
                    "content-security-policy": POLICY,
                    "referrer-policy": "no-referrer",
                    "x-content-type-options": "nosniff",
                }
                if message["status"] in (429, 503):
                    extra["retry-after"] = str(RETRY_S)
                message["headers"] = [
                    *message.get("headers", []),
                    *((k.encode(), v.encode()) for k, v in extra.items()),
                ]
            await send(message)

        await self._app(scope, receive, send_guarded)


class GuardHost:
    """Refuses requests that name another host: a foreign name that was made to lead here. host: where the server listens."""

    def __init__(self, app: App, host: str) -> None:
        self._app, self._open = app, host not in LOOPBACK

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 400; who listens to the network answers to any name."""
        asked = _host(f"//{header(scope, 'host')}")
        if self._open or scope["type"] not in ("http", "websocket") or asked in LOOPBACK:
            await self._app(scope, receive, send)
        else:
            await refuse(
                scope, send, 400, f"this server does not answer as {asked[:80]!a}; ask {LOOPBACK[0]} or localhost"
            )


class GuardOrigin:
    """Refuses what another web page sends: browsers name the page in `Origin`, which must be the host that is asked."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 403."""
        origin, host = header(scope, "origin"), header(scope, "host")
        if scope["type"] in ("http", "websocket") and origin and _netloc(origin) != host.lower():
            await refuse(scope, send, 403, "this server takes orders of other web pages from none")
        else:
            await self._app(scope, receive, send)


class GuardQuota:
    """Turns uploads away when the folder for them is full; files that are `OLD_S` old go first.

    folder: of uploads and results. quota: bytes that it may hold. largest: bytes of an upload that does not say.
    """

    def __init__(self, app: App, folder: Path, quota: int, largest: int) -> None:
        self._app, self._folder, self._quota, self._largest = app, folder, quota, largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 503."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"].rstrip("/").endswith("/upload"):
            length = header(scope, "content-length")
            room = self._quota - (int(length) if length.isdigit() else self._largest)
            if _held(self._folder) > room:
                _remove_old(self._folder)
            if _held(self._folder) > room:
                text = b"the folder for uploads is full; try again in some minutes"  # the page shows it as it is
                await _answer(send, 503, {"content-type": "text/plain; charset=utf-8"}, text)
                return
        await self._app(scope, receive, send)


def header(scope: Scope, name: str) -> str:
    """A header of a request; "" where there is none."""
    return next((value.decode("latin-1") for key, value in scope.get("headers", ()) if key == name.encode()), "")


def _host(address: str) -> str:
    """The host that an address names, in small letters, without a port; "" where there is none."""
    with contextlib.suppress(ValueError):
        return urlsplit(address).hostname or ""
    return ""


def _netloc(address: str) -> str:
    with contextlib.suppress(ValueError):
        return urlsplit(address).netloc.lower()
    return ""


async def refuse(scope: Scope, send: Send, status: int, text: str, headers: dict[str, str] | None = None) -> None:
    """Answer with {"error": text}; a websocket is closed."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    fields = {"content-type": "application/json", **(headers or {})}
    await _answer(send, status, fields, json.dumps({"error": text}).encode())


async def _answer(send: Send, status: int, headers: dict[str, str], body: bytes) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def own_folder(root: Path | None = None) -> Generator[Path]:
    """A new temporary folder, locked while it is used and removed afterwards; those of dead servers go first."""
    root = root or Path(tempfile.gettempdir())
    sweep(root)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=root, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with locked(folder / LOCK):
            yield folder


def sweep(root: Path) -> None:
    """Remove the folders of servers that were killed: nobody holds their lock."""
    for folder in root.glob(f"{PREFIX}*"):
        lock = folder / LOCK
        try:
            if not lock.exists() and time.time() - folder.stat().st_mtime < _YOUNG_S:
                continue
            with locked(lock):
                shutil.rmtree(folder, ignore_errors=True)
        except (OutputError, OSError):  # in use, or another user's
            continue


def _files(folder: Path) -> Iterator[tuple[Path, int, float]]:
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            status = path.stat()
            if path.is_file() and path.name != LOCK:
                yield path, status.st_size, status.st_mtime


def _held(folder: Path) -> int:
    return sum(size for _, size, _ in _files(folder))


def _remove_old(folder: Path) -> None:
    end = time.time() - OLD_S
    for path, _, changed in list(_files(folder)):
        if changed < end:
            path.unlink(missing_ok=True)
