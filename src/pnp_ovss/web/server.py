"""How the page is served: on loopback, with bounded queue and uploads, nothing from elsewhere, no traces left."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from pnp_ovss.environment import environment
from pnp_ovss.errors import ConfigError
from pnp_ovss.segmenter import Segmenter
from pnp_ovss.web.desk import Desk
from pnp_ovss.web.fields import CSS, Offer
from pnp_ovss.web.guards import GuardHeaders, GuardHost, GuardOrigin, GuardQuota, own_folder
from pnp_ovss.web.page import build_page

TRIES = 5
_QUIET = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """Address and limits.

    port: 0 = any free one. waiting: orders in the queue; more are turned away. quota_mb: what uploads and results
    together may take of the disk.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    waiting: int = 16
    max_upload_mb: int = 20
    quota_mb: int = 1000
    open_browser: bool = False


@contextmanager
def served(load: Callable[[str], Segmenter], offer: Offer, config: ServerConfig) -> Generator[str]:
    """The running page's address inside the block; after it the server is closed and every file of it removed.

    load: a model's name to a segmenter. Raises ConfigError when the port is taken.
    """
    with own_folder() as folder, environment({**_QUIET, "GRADIO_TEMP_DIR": str(folder)}):
        page = build_page(Desk(load, folder), offer)
        page.queue(max_size=config.waiting, default_concurrency_limit=1)
        address = _launch(page, config, folder)
        try:
            yield address
        finally:
            page.close(verbose=False)


def _launch(page: gr.Blocks, config: ServerConfig, folder: Path, tries: int = TRIES) -> str:
    """The address of the page, tried again where gradio's own look at it (3 s) comes too early on a slow machine."""
    try:
        return page.launch(**_launch_options(config, folder))[1]
    except OSError as error:
        raise ConfigError(
            f"port {config.port} of {config.host} cannot be used ({error}); choose another --port"
        ) from error
    except ValueError as error:
        page.close(verbose=False)
        if tries == 1:
            raise ConfigError(
                f"the page was started {TRIES} times and did not answer on this machine: is it very busy, or is a proxy "
                "set for localhost (no_proxy)?"
            ) from error
    return _launch(page, config, folder, tries - 1)


def _launch_options(config: ServerConfig, folder: Path) -> dict[str, Any]:
    guards = [
        Middleware(GuardHeaders),  # the outermost: also the refusals of the others carry them
        Middleware(GuardHost, host=config.host),
        Middleware(GuardOrigin),
        Middleware(GuardQuota, folder=folder, quota=config.quota_mb << 20, largest=config.max_upload_mb << 20),
    ]
    return {
        "server_name": config.host,
        "server_port": config.port or None,
        "inbrowser": config.open_browser,
        "max_file_size": f"{config.max_upload_mb}mb",
        "app_kwargs": {"middleware": guards, "docs_url": None, "redoc_url": None},
        "theme": _theme(),
        "css": CSS,
        "footer_links": [],
        "state_session_capacity": 100,
        "prevent_thread_lock": True,
        "share": False,
        "ssr_mode": False,
        "quiet": True,
    }


def _theme() -> gr.themes.Base:
    """The machine's own fonts (none are fetched), and colours that meet WCAG's contrast of 4.5."""
    theme = gr.themes.Default(primary_hue="blue", font=("system-ui", "sans-serif"), font_mono=("monospace",))
    dark = {"block_info_text_color": "*neutral_600", "block_label_text_color": "*neutral_700"}
    return theme.set(**dark, block_title_text_color="*neutral_700", body_text_color_subdued="*neutral_600")
