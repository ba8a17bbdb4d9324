"""`pnp-ovss serve`."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Annotated

import typer

from pnp_ovss.cli import options as o
from pnp_ovss.cli.screen import say
from pnp_ovss.errors import ConfigError, DependencyError

TOKEN, STUDIO_KEY = "PNP_OVSS_TOKEN", "LABEL_STUDIO_API_KEY"


@o.takes_segmenter
def serve(
    host: Annotated[
        str, typer.Option("--host", help=f"0.0.0.0 opens it to the network; needs ${TOKEN}.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 = any free one.")] = 8000,
    max_upload_mb: Annotated[int, typer.Option("--max-upload-mb", min=1, max=1000, help="Largest request.")] = 20,
    waiting: Annotated[
        int, typer.Option("--waiting", min=1, max=10_000, help="Jobs that may wait; more get 429.")
    ] = 16,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=1, max=86_400, help="Seconds for a job with its waiting.")
    ] = 120.0,
    label_studio: Annotated[
        str | None, typer.Option("--label-studio", help=f"Answer this Label Studio's projects; needs ${STUDIO_KEY}.")
    ] = None,
    *,
    spec: o.SegmenterSpec,
) -> int:
    """Serve masks to programs over HTTP.

    POST /segment with a photo and names; /docs describes it. Stop it with Ctrl+C.

    The token that requests must carry is read from the environment, PNP_OVSS_TOKEN; none is asked for where it is not set.
    """
    if find_spec("fastapi") is None or find_spec("uvicorn") is None:
        raise DependencyError("the service needs FastAPI and uvicorn: pip install '.[serve]'")
    from pnp_ovss.serve.app import ServiceConfig, make_app, run
    from pnp_ovss.serve.label_studio import Studio
    from pnp_ovss.web.port import bound

    key = os.environ.get(STUDIO_KEY, "")
    if label_studio and not key:
        raise ConfigError(
            f"--label-studio needs an access token of it in the environment: {STUDIO_KEY}=... pnp-ovss serve"
        )
    studio = Studio(label_studio.rstrip("/"), key) if label_studio else None
    config = ServiceConfig(
        host=host, token=os.environ.get(TOKEN, ""), max_upload_mb=max_upload_mb, waiting=waiting,
        timeout_s=timeout_s, studio=studio,
    )  # fmt: skip
    with bound(host, port) as taken:
        app = make_app(spec.make(), config)
        name, number = taken.getsockname()[:2]
        say(f"serving at http://{f'[{name}]' if ':' in name else name}:{number}/, described at /docs; Ctrl+C stops it")
        run(app, taken)
    say("stopped; the jobs that were running are done")
    return 0
