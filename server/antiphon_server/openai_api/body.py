"""Parser of a JSON body into the type of its route."""

from __future__ import annotations

import re
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from antiphon_server.errors import BadRequest
from antiphon_server.openai_api.base import ApiModel
from antiphon_server.openai_api.client_json import BAD_UNICODE, is_surrogate
from antiphon_server.openai_api.validation_errors import to_bad_request

M = TypeVar("M", bound=ApiModel)


def parse_body(body: bytes, model: type[M]) -> M:
    """Raises BadRequest, whose `param` is the path of the field in the client's JSON."""
    try:
        data = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise _not_json(error) from None
    if not isinstance(data, dict):
        raise BadRequest("The request body must be a JSON object.", code="invalid_json")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise to_bad_request(error, data, model) from None


def _not_json(error: ValueError) -> BadRequest:
    # The parser's message has the position, and does not quote the body.
    where = re.search(r" at line \d+ column \d+$", str(error))
    place = where.group() if where else ""
    if is_surrogate(error):
        message = f"The request body's JSON is not Unicode{place}: {BAD_UNICODE}."
        return BadRequest(message, code="invalid_unicode", hint="Send both halves, or U+FFFD in their place.")
    message = f"The request body is not valid JSON{place}."
    return BadRequest(message, code="invalid_json", hint="Send application/json in UTF-8.")
