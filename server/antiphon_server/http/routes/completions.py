"""`POST /v1/completions`: text that continues a prompt, without a chat template."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import Response

from antiphon_server.chat.request_run import run_request
from antiphon_server.chat.service import Service
from antiphon_server.chat.text_spec import build_text_spec
from antiphon_server.http.body_limits import BUFFERED_BODY, BufferedBody
from antiphon_server.http.routes.models import require_model, served_name
from antiphon_server.http.routes.request_body import client_closed, json_body_of, owner_of, parsed, read_body
from antiphon_server.http.streaming.text_response import TextResponse
from antiphon_server.openai_api.body import parse_body
from antiphon_server.openai_api.completions import CompletionRequest, TextCompletion

router = APIRouter(tags=["completions"])

_PATH = "/v1/completions"


@router.post(
    _PATH,
    summary="Continue a prompt",
    response_model=TextCompletion,
    responses={
        200: {
            "description": "The text; with `stream: true` its chunks as server-sent events, then `[DONE]`",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
    openapi_extra=json_body_of(_PATH, CompletionRequest),
)
async def create_completion(request: Request) -> Response:
    """Continues `prompt` as it stands. For evaluations and benchmarks: the model is trained to chat."""
    service: Service = request.app.state.service
    body = await read_body(request)
    if body is None:
        return client_closed()
    service.metrics.request_uploaded(time.monotonic() - request.state.arrived_s)
    asked = await parsed(body, partial(parse_body, model=CompletionRequest))
    del body
    require_model(service, asked.model)
    owner = owner_of(request, service)
    spec = build_text_spec(asked, service, served_name(service), owner)
    prompts = await _texts(asked, service, owner) if asked.echo else [""] * len(spec.prompts)
    buffered: BufferedBody = request.scope["state"][BUFFERED_BODY]
    release = _last_of(len(spec.prompts), buffered.release)
    running = [run_request(one, service, release, request.state.arrived_s) for one in spec.prompts]
    rates = partial(service.admission.rates.headers, owner or "")
    return TextResponse(spec, running, prompts, service, rates)


async def _texts(asked: CompletionRequest, service: Service, owner: str | None) -> list[str]:
    return [
        prompt if isinstance(prompt, str) else await service.prompts.detokenize(prompt, owner or "")
        for prompt in asked.prompts
    ]


def _last_of(times: int, then: Callable[[], None]) -> Callable[[], None]:
    """Calls `then` when it is called for the last of `times`."""
    left = times

    def called() -> None:
        nonlocal left
        left -= 1
        if not left:
            then()

    return called
