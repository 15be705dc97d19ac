"""Translation of pydantic's errors to OpenAI's 400: the field, what is wrong, and what was probably meant.

It never repeats a client's values, only names of fields.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from antiphon_server.errors import BadRequest
from antiphon_server.openai_api.base import ApiModel

_HINTS = {
    "functions": "Use `tools`.",
    "function_call": "Use `tool_choice`.",
    "messages[].function_call": "Use `tool_calls`.",
    "guided_regex": "Use `guided_json` or `guided_choice`.",
    "guided_grammar": "Use `guided_json` or `guided_choice`.",
    "structured_outputs.*": "Use its `json` or its `choice`.",
    "chat_template": "Chat templates are the server's; requests cannot set them.",
    "chat_template_kwargs.*": "Only enable_thinking can be set.",
    "store": "The server stores no answers.",
    "background": "The server stores no answers; use stream: true.",
    "previous_response_id": "The server stores no answers: send the earlier items in `input`.",
    "conversation": "The server stores no conversations: send the earlier items in `input`.",
    "prompt": "The server stores no prompts: send `instructions` and `input`.",
    "truncation": "Send fewer items of `input`.",
}
_MAX_NAME = 64
_INDEX = re.compile(r"\[\d+\]")
# These errors of pydantic name our classes.
_OBJECT_ERRORS = frozenset({"model_type", "model_attributes_type", "dataclass_type", "dict_type"})


def to_bad_request(error: ValidationError, data: dict[str, Any], model: type[ApiModel]) -> BadRequest:
    """The first error, with a `param` such as `messages[0].content[1].image_url.url`."""
    first = error.errors(include_url=False, include_input=False)[0]
    param = param_of(_without_branch(first), data)
    if first["type"] == "missing":
        return _missing(first["loc"], data)
    if first["type"] == "extra_forbidden":
        return _unknown_field(str(first["loc"][-1]), param, len(first["loc"]) == 1, model)
    return BadRequest(f"Invalid value for '{param}': {_message(first)}.", param=param)


def _without_branch(error: ErrorDetails) -> tuple[str | int, ...]:
    """An error of a whole item of a list, such as a media part, ends with the name of its union branch."""
    loc = error["loc"]
    is_of_item = error["type"] == "value_error" and len(loc) > 1 and isinstance(loc[-2], int)
    return loc[:-1] if is_of_item else loc


def param_of(loc: Sequence[str | int], data: Any) -> str:
    """The path of an error in the client's JSON: pydantic's path without the names of union branches."""
    return _walk(loc, data)[0]


def _walk(loc: Sequence[str | int], data: Any) -> tuple[str, Any]:
    """The path, and its value."""
    path, here = "", data
    for number, step in enumerate(loc):
        if isinstance(step, int) and isinstance(here, list) and step < len(here):
            path, here = f"{path}[{step}]", here[step]
        elif isinstance(step, str) and isinstance(here, dict) and step in here:
            if _is_branch(step, loc[number + 1 :], here):
                continue
            path, here = _join(path, step), here[step]
    return path, here


def _missing(loc: Sequence[str | int], data: dict[str, Any]) -> BadRequest:
    """The error for a required field that is missing or null."""
    (param, value), code = _walk(loc, data), "missing_required_parameter"
    if value is None:
        return BadRequest(f"Invalid value for '{param}': it must not be null.", param=param, code=code)
    param = _join(param, str(loc[-1]))
    return BadRequest(f"Missing required parameter: '{param}'.", param=param, code=code)


def _is_branch(step: str, rest: Sequence[str | int], here: dict[Any, Any]) -> bool:
    """Whether `step` names the type of `here` (`image_url`) rather than its field of the same name."""
    return here.get("type") == step and bool(rest) and (rest[0] == step or rest[0] in here)


def _join(path: str, field: str) -> str:
    shown = "".join(c for c in field[:_MAX_NAME] if c.isprintable())
    return f"{path}.{shown}" if path else shown


def _unknown_field(name: str, param: str, is_top_level: bool, model: type[ApiModel]) -> BadRequest:
    path = _INDEX.sub("[]", param)
    parent = path.rpartition(".")[0]
    if is_top_level and name in model.neutral:
        allowed = " or ".join(json.dumps(value) for value in model.neutral[name])
        return BadRequest(
            f"Unsupported parameter: '{param}' is supported only as {allowed}.",
            param=param,
            code="unsupported_parameter",
            hint=_HINTS.get(path),
        )
    hint = _HINTS.get(path) or _HINTS.get(f"{parent}.*") or _HINTS.get(name)
    if hint is None and is_top_level:
        close = difflib.get_close_matches(name[:_MAX_NAME], model.model_fields, n=1, cutoff=0.75)
        hint = f"Did you mean '{close[0]}'?" if close else None
    return BadRequest(
        f"Unsupported parameter: '{param}' is not supported by this server.",
        param=param,
        code="unsupported_parameter",
        hint=hint,
    )


def _message(error: ErrorDetails) -> str:
    if error["type"] == "union_tag_invalid":
        context = error["ctx"]
        return f"{context['discriminator']} must be one of {context['expected_tags']}"
    if error["type"] == "union_tag_not_found":
        return f"it needs a {error['ctx']['discriminator']}"
    if error["type"] in _OBJECT_ERRORS:
        return "it must be an object"
    text = error["msg"].removeprefix("Value error, ").replace(" after validation", "").rstrip(".")
    text = text[:1].lower() + text[1:]
    return text.replace("tuple", "list").replace("dictionary", "object")
