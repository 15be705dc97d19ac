"""`POST /tokenize` and `POST /detokenize`: vLLM's routes, for the prompts of this server."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter, Request
from fastapi.responses import Response

from antiphon_server.chat.prompt.conversation import Conversation, read_conversation
from antiphon_server.chat.service import Service
from antiphon_server.chat.thinking import read_thinking
from antiphon_server.errors import BadRequest
from antiphon_server.http.routes.models import require_model
from antiphon_server.http.routes.request_body import client_closed, json_body_of, owner_of, read_body
from antiphon_server.openai_api.body import parse_body
from antiphon_server.openai_api.client_json import ClientJson
from antiphon_server.openai_api.request import ChatRequest
from antiphon_server.openai_api.tokenize import Detokenized, DetokenizeRequest, TokenizeRequest, Tokens

router = APIRouter(tags=["tokens"])


@router.post(
    "/tokenize",
    summary="Count the tokens of a text or of a conversation",
    response_model=Tokens,
    response_model_exclude_none=True,
    openapi_extra=json_body_of("/tokenize", TokenizeRequest),
)
async def tokenize(request: Request) -> Tokens | Response:
    """The tokens of `prompt`, or those that a chat request with these `messages` would have."""
    service: Service = request.app.state.service
    body = await read_body(request)
    if body is None:
        return client_closed()
    parsed = parse_body(body, TokenizeRequest)
    require_model(service, parsed.model)
    owner = owner_of(request, service) or ""
    if parsed.prompt is None:
        ids = await service.prompts.render(_conversation_of(parsed, service), owner)
    else:
        ids = await service.prompts.tokenize(parsed.prompt, owner)
    return Tokens(
        count=len(ids),
        max_model_len=service.engine.card.context_tokens,
        tokens=list(ids),
        token_strs=service.prompts.token_texts(ids) if parsed.return_token_strs else None,
    )


@router.post(
    "/detokenize",
    summary="Write tokens as text",
    response_model=Detokenized,
    openapi_extra=json_body_of("/detokenize", DetokenizeRequest),
)
async def detokenize(request: Request) -> Detokenized | Response:
    service: Service = request.app.state.service
    body = await read_body(request)
    if body is None:
        return client_closed()
    parsed = parse_body(body, DetokenizeRequest)
    require_model(service, parsed.model)
    text = await service.prompts.detokenize(parsed.tokens, owner_of(request, service) or "")
    return Detokenized(prompt=text)


def _conversation_of(parsed: TokenizeRequest, service: Service) -> Conversation:
    """Raises BadRequest if it has media: their tokens are known only once they are loaded."""
    limits = service.settings.server.limits
    chat = ChatRequest.model_construct(
        messages=parsed.messages or (), tools=parsed.tools, chat_template_kwargs=parsed.chat_template_kwargs
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
