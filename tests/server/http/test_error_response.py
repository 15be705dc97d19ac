"""Every failure has OpenAI's envelope, which contains nothing internal."""

from __future__ import annotations

import json

import openai
import pytest
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException

from antiphon_executor.interface.errors import EngineBusy, EngineDead, EngineError, InvalidRequest
from antiphon_server.errors import ApiError, BadRequest, InternalError
from antiphon_server.http.error_response import body_of, error_of, headers_of

pytestmark = pytest.mark.promise("R28")

SECRET = "/usr/lib/secret at 0xdeadbeef"


class Inner(BaseModel):
    size: int = Field(le=3)


class Outer(BaseModel):
    items: list[Inner]


def validation_error() -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"items": [{"size": 1}, {"size": 999}, {"size": SECRET}]})
    return caught.value


@pytest.mark.parametrize(
    ("exc", "status", "code", "param"),
    [
        (BadRequest("no", param="x"), 400, "invalid_value", "x"),
        (InvalidRequest("too long", param="messages"), 400, "invalid_turn", "messages"),
        (EngineBusy("no slot", retry_after_s=1.5), 429, "engine_busy", None),
        (EngineDead("talker"), 503, "engine_dead", None),
        (EngineError(SECRET), 500, "internal_error", None),
        (RuntimeError(SECRET), 500, "internal_error", None),
        (KeyError(SECRET), 500, "internal_error", None),
        (RecursionError(SECRET), 500, "internal_error", None),
        (HTTPException(404, SECRET), 404, "not_found", None),
        (HTTPException(405), 405, "method_not_allowed", None),
        (HTTPException(418, SECRET), 400, "invalid_value", None),
        (HTTPException(502, SECRET), 500, "internal_error", None),
    ],
)
def test_an_exception_becomes_its_error(exc: Exception, status: int, code: str, param: str | None) -> None:
    error = error_of(exc)
    assert (error.status, error.code, error.param) == (status, code, param)
    assert SECRET not in body_of(error).decode()
    assert set(json.loads(body_of(error))["error"]) == {"message", "type", "param", "code"}


def test_what_fastapi_would_refuse_is_a_400_that_quotes_nothing() -> None:
    error = error_of(RequestValidationError(validation_error().errors()))
    assert error.status == 400
    assert SECRET not in body_of(error).decode()


def test_a_model_that_we_fill_wrongly_ourselves_is_our_fault() -> None:
    error = error_of(validation_error())
    assert (error.status, error.param) == (500, None)
    assert "size" not in error.message


def test_when_to_try_again_is_said_in_both_units() -> None:
    headers = headers_of(error_of(EngineBusy("no slot", retry_after_s=1.2)))
    assert headers == {"x-should-retry": "true", "retry-after": "2", "retry-after-ms": "1200"}


@pytest.mark.parametrize("error", [InternalError("x"), BadRequest("x")])
def test_what_will_fail_again_says_do_not_retry(error: ApiError) -> None:
    assert headers_of(error) == {"x-should-retry": "false"}


def test_openais_client_understands_a_mid_stream_error() -> None:
    import httpx

    events = f"data: {body_of(error_of(EngineDead('talker'))).decode()}\n\n"
    transport = httpx.MockTransport(
        lambda _: httpx.Response(200, headers={"content-type": "text/event-stream"}, text=events)
    )
    client = openai.OpenAI(api_key="x", base_url="http://x", http_client=httpx.Client(transport=transport))
    stream = client.chat.completions.create(model="x", messages=[], stream=True)
    with pytest.raises(openai.APIError, match="talker engine has stopped"):
        list(stream)
