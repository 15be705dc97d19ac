"""`POST /v1/responses`: OpenAI's newer form of chat, stateless."""

from __future__ import annotations

from functools import partial
from typing import get_args

from fastapi import APIRouter, Request
from fastapi.responses import Response

from antiphon_server.chat.request_run import run_request
from antiphon_server.chat.responses_spec import build_responses_spec
from antiphon_server.http.openapi.bodies import event_stream, json_body
from antiphon_server.http.routes.models import require_model, served_name
from antiphon_server.http.routes.request_body import receive_json
from antiphon_server.http.streaming.responses_response import ResponsesResponse
from antiphon_server.observability.request_trace import mark
from antiphon_server.openai_api.body import parse_body
from antiphon_server.openai_api.responses import response as wire
from antiphon_server.openai_api.responses.events import AnyEvent
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
            "content": event_stream("ResponseStreamEvent", *get_args(AnyEvent), named=True),
        }
    },
    openapi_extra=json_body(ResponsesRequest),
)
async def create_response(request: Request) -> Response:
    """Stateless: `input` has the whole conversation. Nothing is stored, and no tools are hosted.

    Ours: `input_audio` parts, and `modalities: ["text", "audio"]` with `audio` for a spoken answer. It comes
    as a part `output_audio`, in a stream by `response.audio.delta` and `response.audio.transcript.delta`.
    """
    received = await receive_json(request, partial(parse_body, model=ResponsesRequest))
    asked, service = received.asked, received.service
    require_model(service, asked.model)
    spec = build_responses_spec(asked, service, served_name(service), received.owner)
    mark("planned")
    running = run_request(spec.request, service, received.release_body, received.arrived_s)
    return ResponsesResponse(spec, running, service, received.rates)
