"""`POST /v1/chat/completions`: parses the body, and answers with a `ChatResponse` that runs the request."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import TypeAdapter, ValidationError

from antiphon_server.chat.preparation import Preparation
from antiphon_server.chat.request_run import run_request
from antiphon_server.chat.request_spec import build_request_spec
from antiphon_server.config.settings import Dialect
from antiphon_server.errors import BadRequest
from antiphon_server.http.openapi.bodies import event_stream, json_body
from antiphon_server.http.openapi.errors import ErrorBody
from antiphon_server.http.routes.models import require_model, served_name
from antiphon_server.http.routes.request_body import keep_trace, receive_json
from antiphon_server.http.streaming.response import ChatResponse
from antiphon_server.observability.request_trace import mark
from antiphon_server.openai_api.request import ChatRequest, parse_chat_request
from antiphon_server.openai_api.response import Chunk, Completion

router = APIRouter(tags=["chat"])


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
            "content": event_stream("ChatStreamEvent", Chunk, ErrorBody),
        }
    },
    openapi_extra={
        **json_body(ChatRequest),
        "parameters": [{"name": _DIALECT_HEADER, "in": "header", "schema": _DIALECTS.json_schema()}],
    },
)
async def create_chat_completion(request: Request) -> Response:
    received = await receive_json(request, parse_chat_request)
    asked, service = received.asked, received.service
    require_model(service, asked.model)
    spec = build_request_spec(asked, service, served_name(service), received.owner, _dialect_of(request))
    if spec.form.include_timing:
        keep_trace(request)
    mark("planned")
    preparation = Preparation()
    running = run_request(spec, service, received.release_body, received.arrived_s, preparation=preparation)
    return ChatResponse(spec, running, service, received.rates, preparation)


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
