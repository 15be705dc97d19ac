"""Translation of exceptions to OpenAI's error envelope, with its status and headers.

Clients see no path, no repr and no message of a library.
"""

from __future__ import annotations

import json
import logging
import math

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from antiphon_executor.interface.errors import (
    EngineBusy,
    EngineDead,
    EngineError,
    InvalidRequest,
    RequestFailed,
)
from antiphon_server.errors import (
    ApiError,
    BadRequest,
    InternalError,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    Unauthorized,
    Unavailable,
    is_out_of_descriptors,
)

_log = logging.getLogger("antiphon.app")

_OUR_SIDE = "internal server error; the server's log has the details under this request's id"
_DEAD_RETRY_S = 10.0
_BUSY_RETRY_S = 2.0


def error_of(exc: BaseException) -> ApiError:
    """The error that a client sees for `exc`. An unknown exception becomes an opaque 500."""
    match exc:
        case ApiError():
            return exc
        case EngineError():
            return _of_engine(exc)
        case RequestValidationError():
            # FastAPI reads no fields here: `openai_api/validation_errors` names the invalid field.
            return BadRequest("the request is not valid")
        case HTTPException():
            return _of_http(exc)
        case _ if is_out_of_descriptors(exc):
            message = "the server has no free file descriptor"
            return Unavailable(message, code="no_descriptor", retry_after_s=_BUSY_RETRY_S)
        case _:
            return InternalError(_OUR_SIDE)


def _of_engine(exc: EngineError) -> ApiError:
    match exc:
        case InvalidRequest():
            return BadRequest(str(exc), param=exc.param, code=exc.code)
        case EngineBusy():
            return Overloaded(str(exc), code="engine_busy", retry_after_s=exc.retry_after_s)
        case EngineDead():
            retry_after_s = exc.retry_after_s or _DEAD_RETRY_S
            return Unavailable(str(exc), code="engine_dead", retry_after_s=retry_after_s)
        case RequestFailed():
            return InternalError(str(exc), code="answer_lost")
        case _:
            return InternalError("the engine failed")


def headers_of(error: ApiError) -> dict[str, str]:
    """Headers that say whether and when to retry. OpenAI's SDKs read all three."""
    headers = {"x-should-retry": "true" if error.status in (408, 429, 503) else "false", **error.headers}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
        headers["retry-after-ms"] = str(max(1, math.ceil(error.retry_after_s * 1000)))
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = "Bearer"
    return headers


def response_of(error: ApiError, exc: Exception) -> Response:
    """The response if `exc` is raised before the first byte of an answer. `error`: what the client sees."""
    if isinstance(error, InternalError):
        _log.error("request failed", exc_info=exc)
    return Response(body_of(error), error.status, headers_of(error), media_type="application/json")


def body_of(error: ApiError) -> bytes:
    return json.dumps(error.body(), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _of_http(exc: HTTPException) -> ApiError:
    match exc.status_code:
        case 404:
            return NotFound("no route matches this path")
        case 405:
            return MethodNotAllowed("this path does not support this method; see the Allow header")
        case status if status < 500:
            return BadRequest("the request cannot be read")
        case _:
            return InternalError(_OUR_SIDE)
