"""`POST /tokenize` and `POST /detokenize`: vLLM's routes, for the prompts of this server."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import Response

from antiphon_server.chat.prompt.conversation import Conversation, read_conversation
from antiphon_server.chat.request_spec import check_length
from antiphon_server.chat.service import Service
from antiphon_server.chat.thinking import read_thinking
from antiphon_server.errors import BadRequest
from antiphon_server.http.openapi.bodies import json_body
from antiphon_server.http.routes.models import require_model
from antiphon_server.http.routes.request_body import receive_json
from antiphon_server.openai_api.body import parse_body
from antiphon_server.openai_api.client_json import ClientJson
from antiphon_server.openai_api.request import ChatRequest
from antiphon_server.openai_api.tokenize import Detokenized, DetokenizeRequest, TokenizeRequest, Tokens

router = APIRouter(tags=["tokens"])

_JSON = "application/json"
_SLICE = 10_000


@router.post(
    "/tokenize",
    summary="Count the tokens of a text or of a conversation",
    response_model=Tokens,
    openapi_extra=json_body(TokenizeRequest),
)
async def tokenize(request: Request) -> Response:
    """The tokens of `prompt`, or those that a chat request with these `messages` would have."""
    received = await receive_json(request, partial(parse_body, model=TokenizeRequest))
    asked, service, owner = received.asked, received.service, received.owner or ""
    require_model(service, asked.model)
    context_tokens, shows_texts = service.engine.card.context_tokens, asked.return_token_strs
    if asked.prompt is None:
        conversation = _conversation_of(asked, service)
        length, ids_of = conversation.text_chars, partial(service.prompts.render_now, conversation)
        check_length(length, f"messages have {length} characters", "messages", service)
    else:
        length, ids_of = len(asked.prompt), partial(service.prompts.tokenize_now, asked.prompt)
        check_length(length, f"prompt has {length} characters", "prompt", service)
    texts_of = service.prompts.token_texts if shows_texts else None
    answer = await service.prompts.in_turn(length, owner, _tokens_json, ids_of, texts_of, context_tokens)
    return Response(answer, media_type=_JSON)


@router.post(
    "/detokenize",
    summary="Write tokens as text",
    response_model=Detokenized,
    openapi_extra=json_body(DetokenizeRequest),
)
async def detokenize(request: Request) -> Response:
    received = await receive_json(request, partial(parse_body, model=DetokenizeRequest))
    service, tokens, owner = received.service, received.asked.tokens, received.owner or ""
    require_model(service, received.asked.model)
    answer = await service.prompts.in_turn(len(tokens), owner, _text_json, service, tokens)
    return Response(answer, media_type=_JSON)


def _tokens_json(
    ids_of: Callable[[], Sequence[int]],
    texts_of: Callable[[Sequence[int]], Sequence[str]] | None,
    context_tokens: int,
) -> bytes:
    """A `Tokens`. The lists are written in slices: a call for millions of items would block all threads."""
    ids = ids_of()
    head = f'{{"count":{len(ids)},"max_model_len":{context_tokens},"tokens":{_list_json(ids)}'
    texts = f',"token_strs":{_list_json(texts_of(ids))}' if texts_of else ""
    return f"{head}{texts}}}".encode()


def _list_json(items: Sequence[int] | Sequence[str]) -> str:
    slices = (items[start : start + _SLICE] for start in range(0, len(items), _SLICE))
    return f"[{','.join([_slice_json(part) for part in slices])}]"


def _slice_json(items: Sequence[int] | Sequence[str]) -> str:
    return json.dumps(items, ensure_ascii=False, separators=(",", ":"))[1:-1]


def _text_json(service: Service, ids: Sequence[int]) -> bytes:
    return Detokenized(prompt=service.prompts.detokenize_now(ids)).model_dump_json().encode()


def _conversation_of(asked: TokenizeRequest, service: Service) -> Conversation:
    """Raises BadRequest if it has media: their tokens are known only once they are loaded."""
    limits = service.settings.server.limits
    chat = ChatRequest.model_construct(
        messages=asked.messages or (), tools=asked.tools, chat_template_kwargs=asked.chat_template_kwargs
    )
    client_json = ClientJson(limits.json_depth, limits.json_nodes)
    conversation = read_conversation(chat, service.transcripts.find, client_json)
    if conversation.sources:
        raise BadRequest(
            "Media cannot be tokenized here.",
            param=conversation.sources[0].param,
            hint="Send the text alone; `usage` of a chat answer counts the tokens of media.",
        )
    return replace(conversation, thinking=read_thinking(chat, service.prompts.template))
