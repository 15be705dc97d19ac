"""The error responses of the OpenAPI document, in OpenAI's envelope, with an example of each."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from antiphon_server import errors
from antiphon_server.http.openapi.bodies import reference


class ErrorDetail(BaseModel):
    """What went wrong, for people and for programs."""

    message: str
    type: str
    param: str | None
    code: str
    hint: str | None = None


class ErrorBody(BaseModel):
    """OpenAI's error envelope. In a stream that fails, it is the last event."""

    error: ErrorDetail


class SpeechErrorEvent(ErrorBody):
    """The last event of speech that fails."""

    type: Literal["speech.audio.error"]


_EXAMPLES: dict[str, tuple[str, errors.ApiError]] = {
    "400": (
        "The request is invalid: `param` and the message say what to change",
        errors.BadRequest(
            "Unsupported parameter: 'temprature' is not supported by this server.",
            param="temprature",
            code="unsupported_parameter",
            hint="Did you mean 'temperature'?",
        ),
    ),
    "401": (
        "The key is missing or wrong",
        errors.Unauthorized("the API key is missing or wrong", hint="send Authorization: Bearer KEY"),
    ),
    "403": (
        "The origin of the page, or the name of the host, is not allowed",
        errors.Forbidden("requests from this origin are not allowed", code="origin_not_allowed"),
    ),
    "404": (
        "There is no such model, file or path",
        errors.NotFound(
            "the model 'gpt-4o' is not served here; available models: $MODEL",
            param="model",
            code="model_not_found",
            hint="request that model, or start the server with --served-model-name",
        ),
    ),
    "408": (
        "The body did not arrive in time",
        errors.RequestTimeout("the body did not arrive in time"),
    ),
    "413": (
        "The body, or a file in it, is too large",
        errors.PayloadTooLarge("the body is larger than 64 MiB"),
    ),
    "415": (
        "The route does not read this type or encoding of a body",
        errors.UnsupportedMediaType("the body must be application/json"),
    ),
    "429": (
        "No capacity now, or the key's rate is used up; `Retry-After` says when to try again",
        errors.RateExceeded("this API key has reached its limit of 60000 tokens per minute"),
    ),
    "503": (
        "The server is loading, shutting down, or has waited too long for a slot",
        errors.Unavailable("no slot became free within 30 s", code="queue_deadline"),
    ),
    "507": (
        "There is no room for an uploaded file",
        errors.InsufficientStorage("the folder of files is full"),
    ),
    "4XX": (
        "Another refusal, in the same envelope",
        errors.MethodNotAllowed("this path does not support the method"),
    ),
    "5XX": (
        "A failure of the server; its log has the details under the `x-request-id`",
        errors.InternalError("the server failed"),
    ),
}
ALWAYS = ("4XX", "5XX")
OF_BODIES = ("400", "408", "413", "415")
OF_ENGINE = ("404", "429", "503")
OF_KEYS = ("401",)


def error_response(status: str) -> dict[str, Any]:
    description, error = _EXAMPLES[status]
    content = {"schema": reference(ErrorBody), "example": error.body()}
    return {"description": description, "content": {"application/json": content}}
