"""`POST /v1/chat/completions`: parses the body, and answers with a `ChatResponse` that runs the request."""

from __future__ import annotations

import time
from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import TypeAdapter, ValidationError

from antiphon_server.chat.request_run import run_request
from antiphon_server.chat.request_spec import build_request_spec
from antiphon_server.chat.service import Service
from antiphon_server.config.settings import Dialect
from antiphon_server.errors import BadRequest
from antiphon_server.http.body_limits import BUFFERED_BODY, BufferedBody
from antiphon_server.http.routes.models import require_model, served_name
from antiphon_server.http.routes.request_body import client_closed, json_body_of, owner_of, parsed, read_body
from antiphon_server.http.streaming.response import ChatResponse
from antiphon_server.observability.request_trace import RequestTrace, current, mark
from antiphon_server.openai_api.request import ChatRequest, parse_chat_request
from antiphon_server.openai_api.response import Completion

router = APIRouter()


_DIALECT_HEADER = "x-antiphon-dialect"
_DIALECTS: TypeAdapter[Dialect] = TypeAdapter(Dialect)
_PATH = "/v1/chat/completions"


@router.post(
    _PATH,
    summary="Answer a conversation, in text or in text and speech",
    response_model=Completion,
    responses={
        200: {
            "description": "The answer; with `stream: true` its chunks as server-sent events, then `[DONE]`",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
    openapi_extra=json_body_of(_PATH, ChatRequest),
)
async def create_chat_completion(request: Request) -> Response:
    service: Service = request.app.state.service
    if service.settings.logs.milestones:
        current.set(RequestTrace(request.state.arrived_s))
    body = await read_body(request)
    if body is None:
        return client_closed()
    mark("body_read")
    service.metrics.request_uploaded(time.monotonic() - request.state.arrived_s)
    asked = await parsed(body, parse_chat_request)
    require_model(service, asked.model)
    salt = owner_of(request, service)
    spec = build_request_spec(asked, service, served_name(service), salt, _dialect_of(request))
    mark("planned")
    rates = partial(service.admission.rates.headers, salt or "")
    buffered: BufferedBody = request.scope["state"][BUFFERED_BODY]
    running = run_request(spec, service, buffered.release, request.state.arrived_s)
    return ChatResponse(spec.head, spec.form.stream, running, service, rates)


def _dialect_of(request: Request) -> Dialect | None:
    """The dialect that the client names in a header; None if it names none. Raises BadRequest."""
    given = request.headers.get(_DIALECT_HEADER)
    if given is None:
        return None
    try:
        return _DIALECTS.validate_python(given)
    except ValidationError:
        message = f"The header {_DIALECT_HEADER} must be openai, dashscope or union."
        raise BadRequest(message, param=_DIALECT_HEADER) from None
