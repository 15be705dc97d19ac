"""The checked form of a Responses request: that of the chat request that asks for the same."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Any

from antiphon_server.chat.field_names import FieldNames
from antiphon_server.chat.prompt.input_messages import InputMessages, read_input
from antiphon_server.chat.request_spec import RequestSpec, build_request_spec
from antiphon_server.chat.service import Service
from antiphon_server.errors import BadRequest
from antiphon_server.openai_api.options import (
    AllowedToolChoice,
    AllowedTools,
    Function,
    FunctionName,
    JsonSchemaFormat,
    NamedSchema,
    NamedToolChoice,
    ResponseFormat,
    Tool,
    ToolChoice,
)
from antiphon_server.openai_api.request import ChatRequest
from antiphon_server.openai_api.responses.request import (
    LOGPROBS,
    AllowedFunctions,
    AnswerFormat,
    FlatSchemaFormat,
    FunctionChoice,
    FunctionTool,
    NamedFunction,
    ResponsesRequest,
)
from antiphon_server.openai_api.responses.response import Response
from antiphon_server.openai_api.sampling_fields import AnswerFields, SpeechFields

_SHARED = frozenset(AnswerFields.model_fields) | frozenset(SpeechFields.model_fields)
_NAMES = {
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
    "response_format.json_schema": "text.format",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
}


@dataclass(frozen=True, slots=True)
class ResponsesSpec:
    """`names`: of the fields in the client's request. `response`: as it begins."""

    request: RequestSpec
    names: FieldNames
    response: Response


def build_responses_spec(
    request: ResponsesRequest, service: Service, model: str, cache_salt: str | None
) -> ResponsesSpec:
    """Checks all that can be checked without the media. Raises BadRequest or NotFound."""
    _check_logprobs(request)
    read = read_input(request)
    tools = {f"tools[{number}].function": f"tools[{number}]" for number in range(len(request.tools))}
    names = FieldNames(_NAMES | tools | read.names)
    with names.in_errors():
        spec = build_request_spec(_chat_request(request, read), service, model, cache_salt)
    spec = replace(spec, head=replace(spec.head, id=f"resp_{secrets.token_hex(16)}"))
    return ResponsesSpec(spec, names, _begun(request, spec))


def _check_logprobs(request: ResponsesRequest) -> None:
    if request.top_logprobs and LOGPROBS not in request.include:
        raise BadRequest(f'top_logprobs needs include: ["{LOGPROBS}"].', param="top_logprobs")


def _chat_request(request: ResponsesRequest, read: InputMessages) -> ChatRequest:
    """All parts are checked already, so nothing is validated again."""
    given: dict[str, Any] = {name: getattr(request, name) for name in request.model_fields_set & _SHARED}
    return ChatRequest.model_construct(
        **given,
        messages=tuple(read.messages),
        max_completion_tokens=request.max_output_tokens,
        logprobs=LOGPROBS in request.include,
        top_logprobs=request.top_logprobs,
        response_format=_format_of(request.text.format),
        tools=tuple(_tool_of(tool) for tool in request.tools),
        tool_choice=_choice_of(request.tool_choice),
        parallel_tool_calls=request.parallel_tool_calls,
        reasoning_effort=request.reasoning.effort,
    )


def _format_of(asked: AnswerFormat) -> ResponseFormat:
    if not isinstance(asked, FlatSchemaFormat):
        return asked
    schema = NamedSchema.model_construct(name=asked.name, schema_=asked.schema_)
    return JsonSchemaFormat.model_construct(type="json_schema", json_schema=schema)


def _tool_of(tool: FunctionTool) -> Tool:
    """The prompt shows only what the client has set."""
    given = {name: getattr(tool, name) for name in tool.model_fields_set & Function.model_fields.keys()}
    return Tool.model_construct(type="function", function=Function.model_construct(**given))


def _choice_of(choice: FunctionChoice) -> ToolChoice:
    match choice:
        case NamedFunction():
            return _named(choice)
        case AllowedFunctions():
            tools = tuple(_named(tool) for tool in choice.tools)
            allowed = AllowedTools.model_construct(mode=choice.mode, tools=tools)
            return AllowedToolChoice.model_construct(type="allowed_tools", allowed_tools=allowed)
        case _:
            return choice


def _named(tool: NamedFunction) -> NamedToolChoice:
    return NamedToolChoice.model_construct(
        type="function", function=FunctionName.model_construct(name=tool.name)
    )


def _begun(request: ResponsesRequest, spec: RequestSpec) -> Response:
    return Response(
        id=spec.head.id,
        created_at=spec.head.created,
        status="in_progress",
        instructions=request.instructions,
        max_output_tokens=request.max_output_tokens,
        metadata=request.metadata,
        model=spec.head.model,
        output=[],
        parallel_tool_calls=request.parallel_tool_calls,
        reasoning=request.reasoning,
        temperature=spec.text.temperature,
        text=request.text,
        tool_choice=request.tool_choice,
        tools=list(request.tools),
        top_logprobs=request.top_logprobs or 0,
        top_p=spec.text.top_p,
    )
