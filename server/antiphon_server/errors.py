"""The errors that a client can see, raised anywhere and rendered in `http.error_response`."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class ApiError(Exception):
    """Base of all. The body is OpenAI's: `{"error": {message, type, param, code}}`, sometimes with a `hint`.

    ApiError
    ├── BadRequest           400  the request is invalid: `param` and the message say what to change
    ├── Unauthorized         401
    ├── Forbidden            403  a page's origin or a host name that the server does not accept
    ├── NotFound             404
    ├── MethodNotAllowed     405
    ├── RequestTimeout       408  the request did not arrive in time
    ├── PayloadTooLarge      413
    ├── UnsupportedMediaType 415  the route does not read this type or encoding of a body
    ├── HeadersTooLarge      431
    ├── Overloaded           429  no capacity now; carries Retry-After
    │   └── RateExceeded     429  this key has used its quota per minute
    ├── Unavailable          503  not ready, draining or a stage is dead; carries Retry-After
    ├── InsufficientStorage  507  no room for an uploaded file
    └── InternalError        500  our fault; the log has the details under the request id
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    default_code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        hint: str | None = None,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> None:
        super().__init__(message)
        self.headers = headers
        self.message = message
        self.param = param
        self.code = code or self.default_code
        self.hint = hint
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, Any]:
        """The JSON body, also used as the data of a mid-stream error event."""
        error: dict[str, Any] = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        if self.hint:
            error["hint"] = self.hint
        return {"error": error}


class BadRequest(ApiError):
    status = 400
    type = "invalid_request_error"
    default_code = "invalid_value"


class Unauthorized(ApiError):
    status = 401
    type = "authentication_error"
    default_code = "invalid_api_key"


class Forbidden(ApiError):
    status = 403
    type = "permission_error"
    default_code = "forbidden"


class NotFound(ApiError):
    status = 404
    type = "invalid_request_error"
    default_code = "not_found"


class MethodNotAllowed(ApiError):
    status = 405
    type = "invalid_request_error"
    default_code = "method_not_allowed"


class RequestTimeout(ApiError):
    status = 408
    type = "invalid_request_error"
    default_code = "request_timeout"


class PayloadTooLarge(ApiError):
    status = 413
    type = "invalid_request_error"
    default_code = "payload_too_large"


class UnsupportedMediaType(ApiError):
    status = 415
    type = "invalid_request_error"
    default_code = "unsupported_media_type"


class HeadersTooLarge(ApiError):
    status = 431
    type = "invalid_request_error"
    default_code = "headers_too_large"


class Overloaded(ApiError):
    status = 429
    type = "rate_limit_error"
    default_code = "overloaded"


class RateExceeded(Overloaded):
    default_code = "rate_limit_exceeded"


class Unavailable(ApiError):
    status = 503
    type = "server_error"
    default_code = "unavailable"


class InsufficientStorage(ApiError):
    status = 507
    type = "server_error"
    default_code = "insufficient_storage"


class InternalError(ApiError):
    """It carries no details: no path, address or library message reaches a client."""


def is_out_of_descriptors(error: BaseException | None) -> bool:
    """Whether an operation failed because the process or the system has no file descriptor free."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return True
        error = error.__cause__ or error.__context__
    return False
