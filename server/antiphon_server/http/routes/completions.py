"""`POST /v1/completions`: text that continues a prompt, without a chat template."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import Response

from antiphon_server.chat.prompts_run import run_prompts
from antiphon_server.chat.service import Service
from antiphon_server.chat.text_spec import build_text_spec
from antiphon_server.http.openapi.bodies import event_stream, json_body
from antiphon_server.http.openapi.errors import ErrorBody
from antiphon_server.http.routes.models import require_model, served_name
from antiphon_server.http.routes.request_body import receive_json
from antiphon_server.http.streaming.text_response import TextResponse
from antiphon_server.observability.request_trace import mark
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
            "content": event_stream("CompletionStreamEvent", TextCompletion, ErrorBody),
        }
    },
    openapi_extra=json_body(CompletionRequest),
)
async def create_completion(request: Request) -> Response:
    """Continues `prompt` as it stands. For evaluations and benchmarks: the model is trained to chat."""
    received = await receive_json(request, partial(parse_body, model=CompletionRequest))
    asked, service = received.asked, received.service
    require_model(service, asked.model)
    spec = build_text_spec(asked, service, served_name(service), received.owner)
    prompts = await _texts(asked, service, received.owner) if asked.echo else [""] * len(spec.prompts)
    mark("planned")
    running = run_prompts(spec, service, received.release_body, received.arrived_s)
    return TextResponse(spec, running, prompts, service, received.rates)


async def _texts(asked: CompletionRequest, service: Service, owner: str | None) -> list[str]:
    return [
        prompt if isinstance(prompt, str) else await service.prompts.detokenize(prompt, owner or "")
        for prompt in asked.prompts
    ]
