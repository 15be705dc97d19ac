"""`POST /v1/audio/speech`: reads a text aloud, streamed from the first frame of speech."""

from __future__ import annotations

import time
from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import Response

from antiphon_server.chat.service import Service
from antiphon_server.http.body_limits import BUFFERED_BODY, BufferedBody
from antiphon_server.http.routes.models import require_model
from antiphon_server.http.routes.request_body import client_closed, json_body_of, owner_of, parsed, read_body
from antiphon_server.http.streaming.speech_response import SpeechResponse
from antiphon_server.observability.request_trace import RequestTrace, current, mark
from antiphon_server.openai_api.audio.speech import SpeechRequest, parse_speech_request
from antiphon_server.speech.reading_run import run_reading
from antiphon_server.speech.reading_spec import build_reading_spec

router = APIRouter(tags=["audio"])

_PATH = "/v1/audio/speech"
# Clients have these names built in.
_OPENAI_MODELS = frozenset({"tts-1", "tts-1-hd", "gpt-4o-mini-tts"})
_AUDIO = {"schema": {"type": "string", "format": "binary"}}
_TYPES = ("audio/mpeg", "audio/ogg", "audio/aac", "audio/flac", "audio/wav", "audio/pcm")


@router.post(
    _PATH,
    summary="Read a text aloud",
    response_class=Response,
    responses={
        200: {
            "description": "The audio; with `stream_format: sse` events that carry it: "
            "`speech.audio.delta` and at the end `speech.audio.done`, or `speech.audio.error`",
            "content": {
                **dict.fromkeys(_TYPES, _AUDIO),
                "text/event-stream": {"schema": {"type": "string"}},
            },
        }
    },
    openapi_extra=json_body_of(_PATH, SpeechRequest),
)
async def create_speech(request: Request) -> Response:
    """The text is read to the letter: it goes to the speech model without passing the language model."""
    service: Service = request.app.state.service
    if service.settings.logs.milestones:
        current.set(RequestTrace(request.state.arrived_s))
    body = await read_body(request)
    if body is None:
        return client_closed()
    mark("body_read")
    service.metrics.request_uploaded(time.monotonic() - request.state.arrived_s)
    asked = await parsed(body, parse_speech_request)
    if asked.model not in _OPENAI_MODELS:
        require_model(service, asked.model)
    owner = owner_of(request, service) or ""
    spec = await build_reading_spec(asked, service, owner)
    mark("planned")
    buffered: BufferedBody = request.scope["state"][BUFFERED_BODY]
    buffered.release()
    rates = partial(service.admission.rates.headers, owner)
    return SpeechResponse(spec.form, run_reading(spec, service, request.state.arrived_s), service, rates)
