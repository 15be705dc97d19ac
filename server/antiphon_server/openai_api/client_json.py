"""JSON within a client's string (the arguments of a tool call), with the same limits as the body's JSON.

All strings of one request share one limit of values. Many small ones cost no more than one large one.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from pydantic_core import from_json

from antiphon_server.errors import BadRequest
from antiphon_server.openai_api.json_shape import JsonShape

BAD_UNICODE = "it has a \\u escape that is half of a surrogate pair, which is not valid Unicode"


class ClientJson:
    """One request's. `depth` and `nodes`: the limits of its body."""

    def __init__(self, depth: int, nodes: int) -> None:
        self._depth = depth
        self._nodes = nodes

    def parse(self, text: str, param: str) -> Any:
        """The value, or None if `text` is not JSON.

        Raises BadRequest, naming `param`, if it is nested too deep, has too many values or is not Unicode.
        """
        shape = JsonShape(self._depth, self._nodes)
        try:
            shape.count_piece(text.encode())
        except BadRequest as error:
            raise BadRequest(error.message, param=param, code=error.code) from None
        self._nodes -= shape.nodes
        try:
            return from_json(text, allow_inf_nan=False)
        except ValueError as error:
            if is_surrogate(error) and _is_json(text):
                message = f"Invalid value for '{param}': {BAD_UNICODE}."
                raise BadRequest(message, param=param, code="invalid_unicode") from None
            return None


def is_surrogate(error: ValueError) -> bool:
    """Whether the parser stopped at half of a surrogate pair."""
    return "hex escape" in str(error)


def _is_json(text: str) -> bool:
    """Whether Python's parser, which accepts lone surrogates, accepts it. `text` is not nested deep."""
    try:
        json.loads(text, parse_constant=_refuse, parse_int=float)
    except ValueError:
        return False
    return True


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
