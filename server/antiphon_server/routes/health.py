"""Probes and metrics: is the process there, should it get traffic, what has it done.

In: the service and its lifecycle. Out: small answers that say nothing about clients.
`/livez` and `/readyz` need no key.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from antiphon_server.lifecycle import Lifecycle
from antiphon_server.service import Service

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    status: str = "ok"


class Readiness(BaseModel):
    """`reasons`: why no traffic should come here; empty when ready."""

    ready: bool
    reasons: list[str]


@router.get("/livez", summary="The process runs and its event loop turns")
async def livez() -> Alive:
    return Alive()


@router.get(
    "/readyz",
    summary="Every stage is up and the server takes work",
    response_model=Readiness,
    responses={503: {"model": Readiness}},
)
async def readyz(request: Request) -> Response:
    service: Service = request.app.state.service
    life: Lifecycle = request.app.state.lifecycle
    return readiness(life.not_ready(service.engine))


@router.get("/health", summary="vLLM's probe: 200 without a body while every engine is alive")
async def health(request: Request) -> Response:
    service: Service = request.app.state.service
    return Response(status_code=200 if service.engine.status().alive else 503)


@router.get(
    "/metrics", summary="Prometheus metrics of the server and of both engines", response_class=Response
)
async def metrics(request: Request) -> Response:
    service: Service = request.app.state.service
    text = service.metrics.render(service.engine.metrics())
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def readiness(reasons: list[str]) -> JSONResponse:
    body = Readiness(ready=not reasons, reasons=reasons)
    return JSONResponse(body.model_dump(), status_code=503 if reasons else 200)
