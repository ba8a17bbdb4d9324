"""A photo from an address of the web: only http and https, bounded in size, time and redirects, pictures only."""

from __future__ import annotations

import ipaddress
import socket
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPMessage
from string import punctuation
from typing import IO
from urllib.parse import quote, urlsplit

from pnp_ovss.errors import ImageError

MAX_BYTES = 50 << 20
"""Of a photo that is fetched."""
MAX_REDIRECTS = 3
TIMEOUT_S = 20.0
"""Of every wait for the server."""
_TYPES = ("image/", "application/octet-stream", "binary/octet-stream")


def is_address(source: object) -> bool:
    """Whether a photo is named by an address of the web.

    >>> is_address("https://example.org/a.jpg"), is_address("a.jpg"), is_address("file:///a.jpg")
    (True, False, False)
    """
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


def encoded(address: str) -> str:
    """An address as it is sent: blanks and letters that are not ASCII percent-encoded. ValueError for what is no text.

    >>> encoded("http://example.org/caf\u00e9%20au lait.jpg")
    'http://example.org/caf%C3%A9%20au%20lait.jpg'
    """
    return quote(address, safe=punctuation)


def fetch(address: str) -> bytes:
    """The bytes of the picture at an address.

    Raises ImageError for what is no picture, is larger than `MAX_BYTES`, does not answer, or redirects more than
    `MAX_REDIRECTS` times, to another scheme, or from a public address to one of this machine or its network.
    """
    headers, opener = {"User-Agent": "pnp-ovss", "Accept": "image/*"}, urllib.request.build_opener(_Redirects())
    try:
        request = urllib.request.Request(encoded(address), headers=headers)
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            kind, length = answer.headers.get_content_type(), answer.headers.get("Content-Length", "")
            if not kind.startswith(_TYPES):
                raise ImageError(f"{address} is {kind}, not a picture; give the address of the photo itself")
            if length.isdigit() and int(length) > MAX_BYTES:
                raise _too_large(address)
            data = answer.read(MAX_BYTES + 1)
    except ImageError:
        raise
    except urllib.error.HTTPError as error:
        error.close()
        raise ImageError(f"{address} answers {error.code} ({error.reason}); open it in a browser") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ImageError(f"{address} cannot be fetched ({reason}); download the photo and give its path") from None
    if len(data) > MAX_BYTES:
        raise _too_large(address)
    return data


def _too_large(address: str) -> ImageError:
    return ImageError(f"{address} is larger than {MAX_BYTES >> 20} MiB; download it and scale it down")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows few redirects, and none that leads a public address into this machine's network."""

    max_redirections = MAX_REDIRECTS

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """The request that follows. Raises ImageError."""
        downgrade = req.full_url.startswith("https:") and not newurl.startswith("https:")
        if not is_address(newurl) or downgrade or (is_private(newurl) and not is_private(req.full_url)):
            raise ImageError(
                f"{req.full_url} redirects to {newurl}, which is not followed; give the photo's own address"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def is_private(address: str) -> bool:
    """Whether an address's host is this machine or one of its network, by any of its numbers.

    >>> is_private("http://127.0.0.1:80/a"), is_private("http://10.0.0.7/"), is_private("http://93.184.216.34/")
    (True, True, False)
    """
    host = urlsplit(address).hostname or ""
    try:
        numbers = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False  # a name that leads nowhere fails when it is opened
    return any(not ipaddress.ip_address(str(number).partition("%")[0]).is_global for number in numbers)
