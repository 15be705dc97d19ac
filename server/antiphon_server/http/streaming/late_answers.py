"""Middleware that runs an answer after the router has returned.

An answer may take minutes. Inside the router it would keep a dozen frames and three exit stacks, a quarter of
the memory of a stream.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from antiphon_executor.interface.errors import EngineError
from antiphon_server.errors import ApiError
from antiphon_server.http.error_response import error_of, response_of

# The key of a request's state that holds the answer to run; absent where no layer would run it.
_LATE = "late_answer"
# The router's, closed by then.
_STACKS = ("fastapi_inner_astack", "fastapi_function_astack", "fastapi_middleware_astack")


class LateAnswers:
    """Innermost: runs what the route has given to `put_off`. An early error becomes an HTTP status."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state[_LATE] = None
        await self._app(scope, receive, send)
        answer: ASGIApp | None = state.pop(_LATE)
        if answer is None:
            return
        for name in _STACKS:
            scope.pop(name, None)
        try:
            await answer(scope, receive, send)
        except (ApiError, EngineError) as error:
            await response_of(error_of(error), error)(scope, receive, send)


def put_off(scope: Scope, answer: ASGIApp) -> bool:
    """Whether `answer` will run when the router has returned. False: the caller has to run it."""
    state = scope.get("state", {})
    if _LATE not in state:
        return False
    state[_LATE] = answer
    return True
