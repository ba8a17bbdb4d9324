"""`pnp-ovss web`."""

from __future__ import annotations

import contextlib
import signal
import time
from typing import TYPE_CHECKING, Annotated

import typer

from pnp_ovss.cli import options as o
from pnp_ovss.cli.photos import DEMO, skimage_folder
from pnp_ovss.cli.screen import say
from pnp_ovss.errors import DependencyError
from pnp_ovss.extras import need

if TYPE_CHECKING:
    from pnp_ovss.segmenter import Segmenter


def web(
    model: o.Model = "pocket",
    device: o.Device = "auto",
    host: Annotated[str, typer.Option("--host", help="0.0.0.0 opens the page to the network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 = any free one.")] = 7860,
    max_upload_mb: Annotated[int, typer.Option("--max-upload-mb", min=1, max=1000, help="Largest photo.")] = 20,
    quota_mb: Annotated[
        int,
        typer.Option("--quota-mb", min=1, max=10**7, help="What uploads and results together may take of the disk."),
    ] = 1000,
    waiting: Annotated[
        int, typer.Option("--waiting", min=1, max=10_000, help="Jobs in the queue before new ones are refused.")
    ] = 16,
    browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the browser.")] = False,
) -> int:
    """Serve a page: drop a photo, type names, watch the masks. Stop it with Ctrl+C."""
    need("gradio", "the browser page", "web")
    from pnp_ovss.vlms.checkpoints.hub import hush

    hush()  # before gradio imports the hub's library, which reads it once
    from pnp_ovss.web.fields import Offer
    from pnp_ovss.web.guards import LOOPBACK
    from pnp_ovss.web.port import bound
    from pnp_ovss.web.server import ServerConfig, served

    def load(name: str) -> Segmenter:
        return o.SegmenterSpec(model=name, device=device).make()

    config = ServerConfig(
        host=host, port=port, waiting=waiting, max_upload_mb=max_upload_mb, quota_mb=quota_mb, open_browser=browser
    )
    if host not in LOOPBACK:
        say(f"warning: whoever reaches {host}:{port} can use this page; it has no passwords")
    with bound(host, port):  # a taken port is said before a model is loaded
        pass
    load(model)
    with served(load, Offer(offered_models(model), examples()), config) as address:
        say(f"open {address} in a browser; Ctrl+C stops it")
        with contextlib.suppress(KeyboardInterrupt):  # SIGTERM is one, too
            while True:
                time.sleep(3600)
        for number in (signal.SIGINT, signal.SIGTERM):  # a second one would interrupt the cleaning up
            signal.signal(number, signal.SIG_IGN)
    say("stopped; photos and results of the page are deleted")
    return 0


def offered_models(model: str) -> list[str]:
    """The asked model first, then every built-in preset whose weights are on this machine: a page must not download."""
    from pnp_ovss.presets import get_preset, list_presets
    from pnp_ovss.vlms.checkpoints.hub import cached_folder
    from pnp_ovss.vlms.checkpoints.loading import is_built_in

    presets = (get_preset(name) for name in list_presets() if name != model)
    return [model, *(p.name for p in presets if is_built_in(p) or cached_folder(p))]


def examples() -> list[tuple[str, str]]:
    """Photographs of scikit-image with names to ask for; none where it is not installed."""
    try:
        folder = skimage_folder()
    except DependencyError:
        return []
    return [(str(folder / name), names) for name, names in DEMO.items()]
