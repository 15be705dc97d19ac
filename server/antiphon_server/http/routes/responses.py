"""`POST /v1/responses`: OpenAI's newer form of chat, stateless."""

from __future__ import annotations

import time
from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import Response

from antiphon_server.chat.request_run import run_request
from antiphon_server.chat.responses_spec import build_responses_spec
from antiphon_server.chat.service import Service
from antiphon_server.http.body_limits import BUFFERED_BODY, BufferedBody
from antiphon_server.http.routes.models import require_model, served_name
from antiphon_server.http.routes.request_body import client_closed, json_body_of, owner_of, parsed, read_body
from antiphon_server.http.streaming.responses_response import ResponsesResponse
from antiphon_server.openai_api.body import parse_body
from antiphon_server.openai_api.responses import response as wire
from antiphon_server.openai_api.responses.request import ResponsesRequest

router = APIRouter(tags=["responses"])

_PATH = "/v1/responses"


@router.post(
    _PATH,
    summary="Answer items of a conversation, in text or in text and speech",
    response_model=wire.Response,
    responses={
        200: {
            "description": "The response; with `stream: true` its events, each with its name and its data",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
    openapi_extra=json_body_of(_PATH, ResponsesRequest),
)
async def create_response(request: Request) -> Response:
    """Stateless: `input` has the whole conversation. Nothing is stored, and no tools are hosted.

    Ours: `input_audio` parts, and `modalities: ["text", "audio"]` with `audio` for a spoken answer. It comes
    as a part `output_audio`, in a stream by `response.audio.delta` and `response.audio.transcript.delta`.
    """
    service: Service = request.app.state.service
    body = await read_body(request)
    if body is None:
        return client_closed()
    service.metrics.request_uploaded(time.monotonic() - request.state.arrived_s)
    asked = await parsed(body, partial(parse_body, model=ResponsesRequest))
    del body
    require_model(service, asked.model)
    owner = owner_of(request, service)
    spec = build_responses_spec(asked, service, served_name(service), owner)
    del asked
    buffered: BufferedBody = request.scope["state"][BUFFERED_BODY]
    running = run_request(spec.request, service, buffered.release, request.state.arrived_s)
    rates = partial(service.admission.rates.headers, owner or "")
    return ResponsesResponse(spec, running, service, rates)
