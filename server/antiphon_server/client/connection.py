"""HTTP to one OpenAI-compatible server. Each failure becomes one line with an exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import httpx
from httpx_sse import EventSource

from antiphon_server.bench.target import without_secrets
from antiphon_server.client.endpoint import Endpoint
from antiphon_server.exits import ExitCode, StartupError

_CONNECT_S = 10.0
_SHOWN_CHARS = 500
_SHOWN_MODELS = 8
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_CERTIFICATE_HINT = "name the file of the authority that signed it in SSL_CERT_FILE"
_KEY_HINT = "set OPENAI_API_KEY, or name a file with --api-key-file"


class ServerConnection:
    """A context. Raises `StartupError`: SERVER_AWAY, NO_ACCESS or REFUSED."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._shown = without_secrets(endpoint.url)
        key = endpoint.api_key
        self._http = httpx.Client(
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(endpoint.timeout_s, connect=_CONNECT_S),
            # A proxy of the environment cannot reach this machine's own server.
            trust_env=httpx.URL(endpoint.url).host not in _LOOPBACK,
            # SSL_CERT_FILE holds for this machine's own server too.
            verify=httpx.create_ssl_context(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def choose_model(self, preferred: Sequence[str] = ()) -> str:
        """The model that the flags name, else the first of `preferred` that is listed, else the only one."""
        if self._endpoint.model:
            return self._endpoint.model
        names = self._models()
        for name in preferred:
            if name in names:
                return name
        if len(names) == 1:
            return names[0]
        shown = _first_line(", ".join(names[:_SHOWN_MODELS])) + (", …" if len(names) > _SHOWN_MODELS else "")
        hint = f"name one with --model: {shown}" if names else "name one with --model"
        raise StartupError(ExitCode.USAGE, f"the server lists {len(names)} models", hint)

    @contextmanager
    def post(self, path: str, **content: Any) -> Iterator[httpx.Response]:
        """The answer, whose body is not read yet. `content`: as httpx takes it."""
        url = f"{self._endpoint.url}{path}"
        with self._in_one_line(), self._http.stream("POST", url, **content) as response:
            if response.status_code != httpx.codes.OK:
                response.read()
                raise refusal_of(response)
            yield response

    def events(self, path: str, body: dict[str, Any]) -> Iterator[str]:
        """The data of each event up to `[DONE]`. The whole body, if the server does not stream."""
        with self.post(path, json=body) as response:
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                yield response.read().decode(errors="replace")
                return
            for event in EventSource(response).iter_sse():
                if event.data == "[DONE]":
                    return
                if event.data:
                    yield event.data

    def _models(self) -> list[str]:
        with self._in_one_line():
            response = self._http.get(f"{self._endpoint.url}/models")
        if response.status_code in (401, 403):
            raise refusal_of(response)
        try:
            return [str(one["id"]) for one in response.json()["data"]]
        except (ValueError, KeyError, TypeError):
            message = f"the server does not list its models (status {response.status_code})"
            raise StartupError(ExitCode.REFUSED, message, "name one with --model") from None

    @contextmanager
    def _in_one_line(self) -> Iterator[None]:
        hint = "start one with 'antiphon serve', or name another with --url"
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                message = f"the certificate of {self._shown} is not trusted"
                raise StartupError(ExitCode.SERVER_AWAY, message, _CERTIFICATE_HINT) from None
            raise StartupError(ExitCode.SERVER_AWAY, f"no server answers at {self._shown}", hint) from None
        except httpx.TimeoutException:
            seconds = f"{self._endpoint.timeout_s:g} s"
            raise StartupError(
                ExitCode.SERVER_AWAY, f"the server at {self._shown} sent nothing for {seconds}"
            ) from None
        except httpx.HTTPError as error:
            message = f"the connection to {self._shown} broke: {_first_line(str(error))}"
            raise StartupError(ExitCode.SERVER_AWAY, message) from None


def refusal_of(response: httpx.Response) -> StartupError:
    """The error of an answer that is not 200, in the server's own words."""
    try:
        body = response.json()
    except ValueError:
        body = response.text
    message, hint = error_words(body)
    if response.status_code in (401, 403):
        return StartupError(ExitCode.NO_ACCESS, f"the server refuses the key: {message}", hint or _KEY_HINT)
    if hint is None and "retry-after" in response.headers:
        hint = f"try again in {_first_line(response.headers['retry-after'])} s"
    return StartupError(ExitCode.REFUSED, f"the server answers {response.status_code}: {message}", hint)


def broken_off(data: str) -> StartupError | None:
    """The error that an event of a stream reports; None for any other event."""
    try:
        event = json.loads(data)
    except ValueError:
        return None
    if not isinstance(event, dict) or not event.get("error"):
        return None
    message, hint = error_words(event)
    return StartupError(ExitCode.REFUSED, f"the server broke the answer off: {message}", hint)


def error_words(body: Any) -> tuple[str, str | None]:
    """The message and the hint of an error in any usual JSON envelope."""
    error = body.get("error", body.get("detail", body)) if isinstance(body, dict) else body
    if isinstance(error, dict):
        hint = error.get("hint")
        words = error.get("message") or error.get("code") or json.dumps(error)
        return _first_line(str(words)), _first_line(str(hint)) if hint else None
    return _first_line(str(error)) or "no reason given", None


def _first_line(text: str) -> str:
    line = next(iter(text.strip().splitlines()), "")
    return "".join(c for c in line if c.isprintable())[:_SHOWN_CHARS]
