"""What stands before the service: a token, and a limit to what a request may carry. Plain ASGI."""

from __future__ import annotations

import base64
import hmac
from contextlib import suppress

from pnp_ovss.web.guards import App, Message, Receive, Scope, Send, header, refuse


class GuardToken:
    """Lets in who has the token, as `Authorization: Bearer TOKEN` or as the password of basic authentication.

    `/health` is open: it says nothing but that the service is there.
    """

    def __init__(self, app: App, token: str) -> None:
        self._app, self._token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 401."""
        open_ = scope["type"] != "http" or scope["path"] == "/health" or not self._token
        if open_ or hmac.compare_digest(_given(header(scope, "authorization")), self._token):
            await self._app(scope, receive, send)
        else:
            await refuse(
                scope, send, 401, "give the token: Authorization: Bearer TOKEN", {"www-authenticate": "Bearer"}
            )


def _given(authorization: str) -> bytes:
    kind, _, value = authorization.partition(" ")
    if kind.lower() == "bearer":
        return value.strip().encode("latin-1", "replace")
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).partition(b":")[2]
        except ValueError:
            return b""
    return b""


class GuardSize:
    """Turns away bodies above a number of bytes, by what they say or by what they send."""

    def __init__(self, app: App, most: int) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 413."""
        length = header(scope, "content-length")
        if scope["type"] == "http" and length.isdigit() and int(length) > self._most:
            await refuse(scope, send, 413, f"the request has {int(length)} bytes; the limit is {self._most}")
            return
        seen, begun, over = 0, False, False

        async def counted() -> Message:
            nonlocal seen, over
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                over = True
                raise _TooLargeError
            return message

        async def watched(message: Message) -> None:
            nonlocal begun
            if begun or not over:  # else what the application says of a body that it did not get
                begun = True
                await send(message)

        with suppress(_TooLargeError):
            await self._app(scope, counted, watched)
        if over and not begun:
            await refuse(scope, send, 413, f"the request has more than {self._most} bytes")


class _TooLargeError(Exception):
    pass
