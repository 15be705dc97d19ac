"""Every failure in OpenAI's envelope: the one place where exceptions become what a client reads.

In: any exception. Out: an `ApiError`, its headers and body; a stream ends with `error_of(exc).body()`.
Nothing of an exception that is not meant for clients gets out: no path, no repr, no library's message.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from antiphon_executor.protocol import EngineBusy, EngineDead, EngineError, InvalidTurn
from antiphon_server.errors import (
    ApiError,
    BadRequest,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    ServerFault,
    Unauthorized,
    Unavailable,
)

_BY_STATUS: dict[int, type[ApiError]] = {
    401: Unauthorized,
    404: NotFound,
    405: MethodNotAllowed,
    413: PayloadTooLarge,
    429: Overloaded,
    503: Unavailable,
}
_PLAIN_MESSAGE: dict[int, str] = {404: "there is nothing at this path", 405: "this path has other methods"}
_DEAD_RETRY_S = 10.0
_MESSAGE_CHARS = 400


def error_of(exc: BaseException) -> ApiError:
    """What a client may know of `exc`. An `ApiError` is itself; what is not known is our fault."""
    match exc:
        case ApiError():
            return exc
        case EngineError():
            return _of_engine(exc)
        case RequestValidationError():
            return _bad_fields(exc.errors())
        case HTTPException():
            return _of_http(exc)
        case _:
            return ServerFault(
                "something went wrong on our side; the server's log has it under this request's id"
            )


def _of_engine(exc: EngineError) -> ApiError:
    match exc:
        case InvalidTurn():
            return BadRequest(str(exc), param=exc.param, code="invalid_turn")
        case EngineBusy():
            return Overloaded(str(exc), code="engine_busy", retry_after_s=exc.retry_after_s)
        case EngineDead():
            return Unavailable(str(exc), code="engine_dead", retry_after_s=_DEAD_RETRY_S)
        case _:
            return ServerFault("the engine failed")


def headers_of(error: ApiError) -> dict[str, str]:
    """Headers that tell a client whether and when to try again (openai's SDKs read all three)."""
    headers = {"x-should-retry": "true" if error.status in (408, 429, 503) else "false"}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
        headers["retry-after-ms"] = str(max(1, math.ceil(error.retry_after_s * 1000)))
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = "Bearer"
    return headers


def body_of(error: ApiError) -> bytes:
    return json.dumps(error.body(), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _of_http(exc: HTTPException) -> ApiError:
    if isinstance(exc.__cause__, ApiError):
        return exc.__cause__
    kind = _BY_STATUS.get(exc.status_code) or (BadRequest if exc.status_code < 500 else ServerFault)
    return kind(_PLAIN_MESSAGE.get(exc.status_code, "the request cannot be read"))


def _bad_fields(errors: Sequence[Mapping[str, Any]]) -> ApiError:
    """The first wrong field, and how many more there are. Pydantic's messages never quote the value here."""
    if not errors:
        return BadRequest("the request is not valid")
    first = errors[0]
    if first.get("type") == "json_invalid":
        return BadRequest("the body is not valid JSON", code="invalid_json")
    param = _param(first.get("loc", ()))
    message = str(first.get("msg", "not valid"))[:_MESSAGE_CHARS].removeprefix("Value error, ")
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    code = "missing_required_parameter" if first.get("type") == "missing" else None
    return BadRequest(f"{param}: {message}{more}" if param else f"{message}{more}", param=param, code=code)


def _param(location: Sequence[str | int]) -> str | None:
    """`("body", "messages", 0, "content")` as `messages[0].content`."""
    parts = list(location)
    if parts and parts[0] in ("body", "query", "path", "header"):
        parts = parts[1:]
    name = ""
    for part in parts:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else str(part)
    return name[:_MESSAGE_CHARS] or None
