"""The service as an ASGI application (FastAPI): `POST /segment`, `GET /health`, its description, Label Studio's backend."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from pnp_ovss.errors import ConfigError, PnPError
from pnp_ovss.pictures.labels_image import labels_image, png_bytes
from pnp_ovss.segmentation import Segmentation
from pnp_ovss.segmenter import Segmenter
from pnp_ovss.serve.answers import describe, to_json
from pnp_ovss.serve.guards import GuardSize, GuardToken
from pnp_ovss.serve.label_studio import Studio, predict, read_interface, version_of
from pnp_ovss.serve.line import Line, LineFullError
from pnp_ovss.web.desk import bounded_classes
from pnp_ovss.web.guards import LOOPBACK, RETRY_S, GuardHost, GuardOrigin

FIELDS = ("photo", "names", "answer", "policy", "threshold", "match_threshold")
"""What a request of `/segment` may say."""
GRACE_S = 30
"""How long jobs may go on after a signal."""


@dataclass(frozen=True, kw_only=True)
class ServiceConfig:
    """Host and limits. token: "" = none is asked for. studio: the Label Studio whose tasks are answered, or None.

    Raises ConfigError for a service without a token that is open to the network.
    """

    host: str = "127.0.0.1"
    token: str = ""
    max_upload_mb: int = 20
    waiting: int = 16
    timeout_s: float = 120.0
    studio: Studio | None = None

    def __post_init__(self) -> None:
        if self.host not in LOOPBACK and not self.token:
            raise ConfigError(
                f"whoever reaches {self.host} could use the service: set PNP_OVSS_TOKEN, or leave --host out"
            )


def make_app(segmenter: Segmenter, config: ServiceConfig) -> FastAPI:
    """The service of one segmenter."""
    line = Line(config.waiting, config.timeout_s)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        yield
        line.close()

    app = FastAPI(
        title="PnP-OVSS", description="Masks for any class names.", docs_url=None, redoc_url=None, lifespan=lifespan,
        middleware=_guards(config),
    )  # fmt: skip
    _handle_errors(app)
    _add_segment(app, segmenter, line)
    _add_label_studio(app, segmenter, line, config.studio)

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(describe(app.openapi()))

    @app.get("/health")
    def health() -> dict[str, Any]:
        """Whether the service is there, and how many jobs run or wait."""
        return {"status": "UP", "model_class": "PnP-OVSS", "jobs": line.held}

    return app


def _guards(config: ServiceConfig) -> list[Middleware]:
    return [
        Middleware(GuardHost, host=config.host),
        Middleware(GuardOrigin),
        Middleware(GuardToken, token=config.token),
        Middleware(GuardSize, most=config.max_upload_mb << 20),
    ]


def _handle_errors(app: FastAPI) -> None:
    def answer(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
        return JSONResponse({"error": text}, status, headers)

    full = "too many jobs are waiting; try again later"
    late = "the job took too long; try a smaller photo or fewer names"
    broken = "an error of the program, written to its log; try another photo"
    app.add_exception_handler(PnPError, lambda _, error: answer(422, str(error)))
    app.add_exception_handler(RequestValidationError, lambda _, error: answer(422, _what_is_wrong(error)))
    app.add_exception_handler(
        HTTPException, lambda _, error: answer(error.status_code, error.detail, dict(error.headers or {}))
    )
    app.add_exception_handler(LineFullError, lambda *_: answer(429, full, {"Retry-After": str(RETRY_S)}))
    app.add_exception_handler(TimeoutError, lambda *_: answer(504, late))
    app.add_exception_handler(Exception, lambda *_: answer(500, broken))  # which is raised again, and logged


def _what_is_wrong(error: RequestValidationError) -> str:
    """The first field that is missing or wrong, in one sentence."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"the request's {where}: {first['msg']}; /docs says what each request takes"


def _add_segment(app: FastAPI, segmenter: Segmenter, line: Line) -> None:
    @app.post("/segment", responses={200: {"content": {"image/png": {}}}})
    async def segment(
        photo: Annotated[UploadFile, File(description="A photo: any format that the command line reads.")],
        names: Annotated[str, Form(description='Class names, separated by commas: "cat, sofa"; or auto.')],
        answer: Annotated[
            Literal["json", "labels", "overlay"], Form(description="json, or a PNG: labels or overlay.")
        ] = "json",
        policy: Annotated[Literal["itm", "all"] | None, Form(description="Which classes compete.")] = None,
        threshold: Annotated[float | None, Form(description="Threshold T of the maps.")] = None,
        match_threshold: Annotated[float | None, Form(description="A class competes if its match reaches it.")] = None,
        *,
        request: Request,
    ) -> Response:
        """Segment one photo. JSON: every asked class with share, match and verdict, those found with COCO's RLE and polygons."""
        _check_fields([name for name, _ in (await request.form()).multi_items()], list(request.query_params))
        classes = bounded_classes(names, "this service")
        asked = {"policy": policy, "threshold": threshold, "match_threshold": match_threshold}
        chosen = segmenter.replace(**{name: value for name, value in asked.items() if value is not None})  # ty: ignore
        data, name = await photo.read(), photo.filename or ""
        return await line.run(lambda: _answer(chosen(data, classes, image_name=name), answer))


def _check_fields(given: Sequence[str], in_address: Sequence[str]) -> None:
    """Raise ConfigError for what would change nothing: another field, one that is given twice, one in the address."""
    for name in (*in_address, *given):
        if name not in FIELDS:
            raise ConfigError(f"the request has a field {name[:80]!a}; its fields are {', '.join(FIELDS)}")
        if name in in_address:
            raise ConfigError(f"{name} stands in the address; give it as a field of the form, like photo and names")
        if given.count(name) > 1:
            advice = "write all names into one, with commas between" if name == "names" else "give one"
            raise ConfigError(f"the request has {given.count(name)} fields {name!a}; {advice}")


def _answer(result: Segmentation, kind: str) -> Response:
    if kind == "json":
        return JSONResponse(to_json(result))
    picture = result.overlay() if kind == "overlay" else labels_image(result.labels, len(result.class_names))
    return Response(png_bytes(picture), media_type="image/png")


def _add_label_studio(app: FastAPI, segmenter: Segmenter, line: Line, studio: Studio | None) -> None:
    @app.post("/setup")
    async def setup(request: dict[str, Any]) -> dict[str, Any]:
        """Label Studio introduces a project; its labelling configuration must have brushes."""
        read_interface(str(request.get("schema", "")))
        return {"model_version": version_of(segmenter)}

    @app.post("/predict")
    async def predictions(request: dict[str, Any]) -> dict[str, Any]:
        """Label Studio asks for the predictions of tasks."""
        if studio is None:
            raise ConfigError("start the service with --label-studio ADDRESS to answer its projects")
        return await line.run(lambda: predict(segmenter, studio, request))


def run(app: FastAPI, port: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM; requests that came before are answered."""
    options = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=GRACE_S, ws="none"
    )
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn hands a signal that ended it to the handler before its own
        signal.signal(number, lambda *_: None)
    uvicorn.Server(options).run(sockets=[port])
