"""Probes and metrics: `/livez`, `/readyz`, `/ping` (no key needed), `/health`, `/version`, `/metrics`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel

from antiphon_server.chat.service import Service
from antiphon_server.http.lifecycle import Lifecycle
from antiphon_server.version import VERSION

Modality = Literal["text", "speech"]

_NEEDED: dict[Modality, Callable[[dict[str, bool]], bool]] = {
    "text": lambda stages: stages["thinker"],
    "speech": lambda stages: stages["thinker"] and stages.get("talker", False),
}

_PROBED: dict[int | str, dict[str, Any]] = {
    200: {"description": "Every engine is alive"},
    503: {"description": "An engine is not"},
}

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    status: str = "ok"


class Version(BaseModel):
    version: str = VERSION


class Readiness(BaseModel):
    """`works`: what can be requested now. `reasons`: why the rest cannot; empty if everything works."""

    ready: bool
    works: list[Modality]
    reasons: list[str]


@router.get("/livez", summary="The process and its event loop run")
async def livez() -> Alive:
    return Alive()


@router.get(
    "/readyz",
    summary="The server accepts work: text, or what `need` names",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "It does not, and why"}},
)
async def readyz(request: Request, need: Modality = "text") -> Response:
    """If the Talker is stuck or being restarted, text requests work and speech requests do not."""
    service: Service = request.app.state.service
    life: Lifecycle = request.app.state.lifecycle
    status = service.engine.status()
    if closed := life.closed_because() or [f"the {name} engine has stopped" for name in status.given_up]:
        return unready(closed)
    usable = {name: alive and name not in status.stuck for name, alive in status.stages.items()}
    works: list[Modality] = [modality for modality, needed in _NEEDED.items() if needed(usable)]
    restarting = [name for name, alive in status.stages.items() if not alive]
    reasons = [f"the {name} engine is being restarted" for name in restarting] + [*status.stuck.values()]
    if need == "speech" and "talker" not in usable:
        reasons.append("this server has no Talker")
    body = Readiness(ready=need in works, works=works, reasons=reasons)
    return JSONResponse(body.model_dump(), status_code=200 if body.ready else 503)


@router.get(
    "/health",
    summary="vLLM's probe: 200 without a body while every engine is alive",
    response_class=Response,
    responses=_PROBED,
)
async def health(request: Request) -> Response:
    service: Service = request.app.state.service
    return Response(status_code=200 if service.engine.status().alive else 503)


@router.get(
    "/ping",
    summary="SageMaker's probe: 200 without a body while every engine is alive",
    response_class=Response,
    responses=_PROBED,
)
async def ping(request: Request) -> Response:
    return await health(request)


@router.get("/version", summary="The version of this server, at the path of vLLM's")
async def version() -> Version:
    return Version()


@router.get(
    "/metrics",
    summary="Prometheus metrics of the server and of both engines",
    response_class=Response,
    responses={
        200: {
            "description": "In the text format of Prometheus",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    },
)
async def metrics(request: Request) -> Response:
    service: Service = request.app.state.service
    if service.spans is None:
        return Response(service.metrics.render(service.engine.metrics()), media_type=CONTENT_TYPE_LATEST)
    # Only OpenMetrics has exemplars, which lead from a metric to a trace.
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(service.metrics.render(service.engine.metrics(), encode), media_type=content_type)


def unready(reasons: list[str]) -> JSONResponse:
    return JSONResponse(Readiness(ready=False, works=[], reasons=reasons).model_dump(), status_code=503)
