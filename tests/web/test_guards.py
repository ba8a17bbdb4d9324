"""What stands before the page, asked as a server asks it."""

import asyncio
import os
import subprocess
import sys
import time

import pytest

from pnp_ovss.web.guards import GuardHeaders, GuardOrigin, GuardQuota, own_folder, sweep

HOST = "127.0.0.1:7860"


async def page(scope, receive, send):
    await send({"type": "http.response.start", "status": scope.get("answer", 200), "headers": []})
    await send({"type": "http.response.body", "body": b"page"})


def ask(app, path="/", kind="http", method="POST", answer=200, **headers):
    """(status or None, headers, body) of a request."""
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in {"host": HOST, **headers}.items()]
    scope = {"type": kind, "method": method, "path": path, "headers": raw, "answer": answer}
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, None, send))
    if kind == "websocket":
        return sent[0]["type"], {}, b""
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:7861", "x"])
def test_orders_of_other_pages_are_refused(origin):
    assert ask(GuardOrigin(page), "/gradio_api/upload", origin=origin)[0] == 403
    assert ask(GuardOrigin(page), kind="websocket", origin=origin)[0] == "websocket.close"


@pytest.mark.parametrize("headers", [{"origin": f"http://{HOST}"}, {"origin": f"https://{HOST}"}, {}])
def test_the_page_itself_and_programs_are_served(headers):
    assert ask(GuardOrigin(page), "/gradio_api/upload", **headers)[0] == 200


@pytest.mark.parametrize("status", [429, 503])
def test_whoever_is_turned_away_is_told_when_to_come_again(status):
    assert ask(GuardHeaders(page), answer=status)[1][b"retry-after"] == b"30"
    headers = ask(GuardHeaders(page))[1]
    assert b"retry-after" not in headers
    assert b"default-src 'self'" in headers[b"content-security-policy"]


def test_uploads_stop_at_the_quota_and_old_files_make_room(tmp_path):
    app = GuardQuota(page, tmp_path, quota=1000, largest=400)
    (tmp_path / "sub").mkdir()
    held = tmp_path / "sub" / "photo"
    held.write_bytes(bytes(700))
    assert ask(app, "/gradio_api/upload", content_length="300")[0] == 200
    assert ask(app, "/gradio_api/upload", content_length="301")[0] == 503
    assert ask(app, "/gradio_api/upload")[0] == 503, "a length that is not said counts as the largest"
    assert ask(app, "/other", content_length="301")[0] == 200
    assert held.exists()
    old = time.time() - 700
    os.utime(held, (old, old))
    assert ask(app, "/gradio_api/upload", content_length="301")[0] == 200
    assert not held.exists()


def test_folders_of_dead_servers_go_and_those_of_living_ones_stay(tmp_path):
    script = (
        "import os, pathlib, sys; from pnp_ovss.web.guards import own_folder\n"
        "with own_folder(pathlib.Path(sys.argv[1])) as folder:\n"
        "    (folder / 'photo').write_bytes(b'x'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False).returncode == -9
    (dead,) = tmp_path.iterdir()
    with own_folder(tmp_path) as living:
        assert not dead.exists()
        (living / "photo").write_bytes(b"x")
        starting = tmp_path / "pnp-ovss-web-new"
        starting.mkdir()
        sweep(tmp_path)
        assert (living / "photo").exists()
        assert starting.exists()
    assert not living.exists()
