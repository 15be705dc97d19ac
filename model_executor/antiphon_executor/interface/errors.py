"""Errors of the engine. Their messages can be shown to a client."""

from __future__ import annotations


class OperatorError(ValueError):
    """The operator's configuration cannot be served. Raised at start only; the message is one line."""


class EngineError(Exception):
    """Base of the errors that `OmniEngine.generate` raises.

    EngineError
    ├── InvalidRequest     the request is invalid (`param` names the field, `code` the kind of error)
    ├── EngineBusy         no capacity now; retry after `retry_after_s`
    ├── RequestFailed      this request failed inside the server; other requests continue
    └── EngineDead         a stage has stopped; requests that need it fail
    """


class InvalidRequest(EngineError):
    def __init__(self, message: str, param: str | None = None, code: str = "invalid_turn") -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class EngineBusy(EngineError):
    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RequestFailed(EngineError):
    """`part`: what went wrong, as a clause of the message to the client."""

    def __init__(self, part: str) -> None:
        super().__init__(f"the answer cannot be completed: {part}; send the request again")


class EngineDead(EngineError):
    """`retry_after_s`: expected time until the stage runs again; None if it is not restarted."""

    def __init__(self, stage: str, retry_after_s: float | None = None) -> None:
        suffix = "" if retry_after_s is None else " and is being restarted"
        super().__init__(f"the {stage} engine has stopped{suffix}")
        self.stage = stage
        self.retry_after_s = retry_after_s
