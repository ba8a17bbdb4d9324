"""A model hub on loopback: repositories of files, as the real hub serves them, with the faults that it can have."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_LARGE = (".safetensors", ".bin", ".pth")


@dataclass
class FakeHub:
    """Repositories {owner/name: {file: content}} and how they answer.

    statuses: {owner/name: (status, X-Error-Code)} instead of an answer. corrupt: files whose next so many answers have
    a wrong byte. broken: files whose next so many answers end after half of what was asked. short: files whose next so
    many answers are half a file that calls itself whole. stuck: a file that stops half way and sets `waiting`, for who
    wants to kill the one that fetches it. revisions: those that there are besides main; a commit's answers bear its own
    name. asked: (method, path, Range) of every request.
    """

    repositories: Mapping[str, Mapping[str, bytes]]
    endpoint: str = ""
    statuses: dict[str, tuple[int, str]] = field(default_factory=dict)
    corrupt: dict[str, int] = field(default_factory=dict)
    broken: dict[str, int] = field(default_factory=dict)
    short: dict[str, int] = field(default_factory=dict)
    stuck: str = ""
    waiting: threading.Event = field(default_factory=threading.Event)
    revisions: set[str] = field(default_factory=lambda: {COMMIT})
    asked: list[tuple[str, str, str]] = field(default_factory=list)


def file_facts(name: str, content: bytes) -> dict[str, Any]:
    """What the hub's listings say of a file: git's hash, and sha256 of the large ones."""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    facts: dict[str, Any] = {"type": "file", "path": name, "rfilename": name, "size": len(content), "oid": blob}
    facts["blobId"] = blob
    if name.endswith(_LARGE):
        sha256 = hashlib.sha256(content).hexdigest()
        facts["lfs"] = {"oid": sha256, "sha256": sha256, "size": len(content), "pointerSize": 134}
    return facts


@contextmanager
def serving(hub: FakeHub) -> Generator[str]:
    """Serve it on a free port of 127.0.0.1; yields the endpoint for HF_ENDPOINT."""

    class Handler(_Handler):
        served = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub.endpoint
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: FakeHub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def _answer(self, *, body: bool) -> None:
        hub, path = self.served, unquote(urlsplit(self.path).path)
        hub.asked.append((self.command, path, self.headers.get("Range", "")))
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)(/(revision|tree)/([^/]+)(/.*)?)?", path)
        if found is not None:
            self._list(found[1], found[3] or "revision", found[4] or "main")
            return
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if found is None or self._refused(found[1], found[2]):
            if found is None:
                self._fail(404, "RepoNotFound")
            return
        self._file(found[1], found[3], found[2], body=body)

    def _refused(self, repository: str, revision: str) -> bool:
        status = self.served.statuses.get(repository)
        if status is None and repository not in self.served.repositories:
            status = (401, "RepoNotFound")
        if status is None and revision not in ("main", *self.served.revisions):
            status = (404, "RevisionNotFound")
        if status is not None:
            self._fail(*status)
        return status is not None

    def _list(self, repository: str, kind: str, revision: str) -> None:
        if self._refused(repository, revision):
            return
        files = [file_facts(name, content) for name, content in self.served.repositories[repository].items()]
        info = {
            "id": repository,
            "modelId": repository,
            "sha": _commit(revision),
            "siblings": files,
            "tags": [],
            "private": False,
        }
        self._send(200, json.dumps(files if kind == "tree" else info).encode(), {"Content-Type": "application/json"})

    def _file(self, repository: str, name: str, revision: str, *, body: bool) -> None:
        content = self.served.repositories[repository].get(name)
        if content is None:
            self._fail(404, "EntryNotFound")
            return
        facts = file_facts(name, content)
        etag = facts["lfs"]["sha256"] if "lfs" in facts else facts["oid"]
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": _commit(revision), "Accept-Ranges": "bytes"}
        headers |= {"X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{etag}"'} if "lfs" in facts else {}
        start = int((re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) or ["", "0"])[1])
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        part = content[start:]
        if body and self._due(self.served.corrupt, name) and part:
            part = part[:-1] + bytes([part[-1] ^ 1])
        if body and self._due(self.served.short, name):
            part = part[: len(part) // 2]
        cut = body and (name == self.served.stuck or self._due(self.served.broken, name))
        self._send(206 if start else 200, part, headers, body=body, cut=cut)

    def _due(self, faults: dict[str, int], name: str) -> bool:
        faults[name] = faults.get(name, 0) - 1
        return faults[name] >= 0

    def _fail(self, status: int, code: str) -> None:
        self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": code})

    def _send(
        self, status: int, content: bytes, headers: Mapping[str, str], *, body: bool = True, cut: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.wfile.flush()
            self.close_connection = True
            if self.served.stuck:
                self.served.waiting.set()
                with suppress(OSError):
                    self.rfile.read(1)  # nothing comes: returns when the other side is gone


def _commit(revision: str) -> str:
    """The commit that a revision is; every branch is at the same."""
    return revision if re.fullmatch("[0-9a-f]{40}", revision) else COMMIT
