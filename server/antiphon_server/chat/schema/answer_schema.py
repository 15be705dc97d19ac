"""The JSON schema that an answer must follow: the client's own, or that of the tool call that it requires."""

from __future__ import annotations

import json
from typing import Any

from antiphon_executor.interface.request import AnswerSchema
from antiphon_server.chat.schema.bounds import SchemaBounds
from antiphon_server.chat.schema.subschemas import rebased
from antiphon_server.errors import BadRequest
from antiphon_server.openai_api.limits import MAX_FORCED_JSON_CHARS, MAX_SCHEMA_JSON_CHARS
from antiphon_server.openai_api.options import Function, JsonObjectFormat, JsonSchemaFormat
from antiphon_server.openai_api.request import ChatRequest
from antiphon_server.openai_api.sampling_fields import SamplingFields

# The schema of `json_object`. It is the server's own, so its cost is known to be negligible.
ANY_OBJECT = AnswerSchema('{"type": "object"}', "response_format")

# A call is written as `json.dumps` writes it, which models are trained on, and without any other white space.
_CALL_FORMAT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def read_answer_schema(request: ChatRequest) -> AnswerSchema | None:
    """None if no schema limits the answer. Raises BadRequest, naming the keyword that is not supported."""
    asked = request.response_format
    formats = [isinstance(asked, JsonObjectFormat | JsonSchemaFormat), request.guidance is not None]
    functions = _forced_functions(request)
    if sum(formats) + bool(functions) > 1:
        message = "response_format, structured outputs and a required tool call exclude each other."
        raise BadRequest(message, param="response_format" if formats[0] else "tool_choice")
    if functions:
        return _call_schema(functions)
    if isinstance(asked, JsonSchemaFormat):
        return _checked(asked.json_schema.schema_, "response_format.json_schema.schema")
    return ANY_OBJECT if isinstance(asked, JsonObjectFormat) else read_guidance_schema(request)


def read_guidance_schema(request: SamplingFields) -> AnswerSchema | None:
    """The schema of vLLM's fields. Raises BadRequest, as above."""
    guidance = request.guidance
    if guidance is None or guidance.schema is None:
        return None
    return _checked(guidance.schema, guidance.param)


def _checked(schema: dict[str, Any], param: str) -> AnswerSchema:
    SchemaBounds().check(schema, param)
    return AnswerSchema(json.dumps(schema), param)


def _forced_functions(request: ChatRequest) -> list[tuple[int, Function]]:
    """The functions of which one must be called, with their indices among the tools."""
    functions = [(number, tool.function) for number, tool in request.callable_tools]
    if request.tool_choice not in (None, "auto", "none") and not functions:
        raise BadRequest("tool_choice names a tool that is not among the tools.", param="tool_choice")
    return functions if request.forces_call else []


def _call_schema(functions: list[tuple[int, Function]]) -> AnswerSchema:
    """The schema of a call, `{"name", "arguments"}`."""
    bounds = SchemaBounds()
    for number, function in functions:
        param = f"tools[{number}].function.parameters"
        _check_size(function.parameters or {}, param)
        bounds.check(function.parameters or {}, param)
    if len(functions) == 1:
        calls = _call(functions[0][1], ("properties", "arguments"))
    else:
        branches = [
            _call(function, ("anyOf", str(branch), "properties", "arguments"))
            for branch, (_, function) in enumerate(functions)
        ]
        calls = {"anyOf": branches}
    text = json.dumps({**calls, "x-guidance": _CALL_FORMAT})
    if len(text) > MAX_FORCED_JSON_CHARS:
        raise BadRequest(
            f"The schemas of the tools have {len(text)} characters together; the limit for a call that is "
            f"required is {MAX_FORCED_JSON_CHARS}.",
            param="tools",
            code="schema_too_large",
            hint="Send fewer tools, or name the one to call in tool_choice.",
        )
    return AnswerSchema(text, "tools")


def _check_size(schema: dict[str, Any], param: str) -> None:
    size = len(json.dumps(schema))
    if size > MAX_SCHEMA_JSON_CHARS:
        raise BadRequest(
            f"The schema has {size} characters; the limit for a call that is required is "
            f"{MAX_SCHEMA_JSON_CHARS}.",
            param=param,
            code="schema_too_large",
            hint="Send a smaller schema, or tool_choice auto.",
        )


def _call(function: Function, at: tuple[str, ...]) -> dict[str, Any]:
    """`at`: the pointer to the arguments in the whole schema; their own references become relative to it."""
    arguments = {"type": "object"} | rebased(function.parameters or {}, at)
    return {
        "type": "object",
        "properties": {"name": {"const": function.name}, "arguments": arguments},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }
